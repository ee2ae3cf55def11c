"""Volumes of every kind, seen from inside: content, modes, owners, links, updates, limits, and attempts to get out."""

import base64
import os
import shutil
import socket
from pathlib import Path

from tests.e2e.conftest import until
from tests.e2e.podfields.conftest import SHELL, Batch, Obj, condition, config_map, container, pod, waits

WRITABLE = {"name": "v", "emptyDir": {}}
AT_V = [{"name": "v", "mountPath": "/v"}]
MAP = {"name": "v", "configMap": {"name": "files"}}


def at(path: str, name: str = "v", **fields: object) -> dict:
    return {"name": name, "mountPath": path, **fields}


def escape(name: str, link: str, sub_path: str = "out/etc") -> Obj:
    """A pod whose init container puts a link into the volume; the main one mounts a path through it."""
    plant = container(f"ln -s {link} /v/out; echo planted", name="plant", volumeMounts=AT_V)
    main = container("ls /seen", volumeMounts=[at("/seen", subPath=sub_path)])
    return pod(name, main, initContainers=[plant], volumes=[WRITABLE])


def host(name: str, path: Path | str, kind: str, script: str = "ls -ld /h") -> Obj:
    source = {"path": str(path), "type": kind}
    main = container(script, volumeMounts=[at("/h", "h")], securityContext={"privileged": True})
    return pod(name, main, volumes=[{"name": "h", "hostPath": source}])


def projected(*sources: Obj, **fields: object) -> list[Obj]:
    return [{"name": "v", "projected": {"sources": list(sources), **fields}}]


OBJECTS = [
    config_map("files", **{"a.txt": "first", "b.txt": "second"}),
    config_map("changing", word="before", gone="x"),
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys"},
        "data": {"key": base64.b64encode(b"\x00\xff").decode(), "word": base64.b64encode(b"sesame").decode()},
    },
    pod(
        "modes",
        container(
            "cd /v; for f in a.txt b.txt; do stat -Lc '%n %a %U' $f; done; readlink a.txt; ls -A | grep '^[.][.]' | grep -vc '^[.][.]data$';"
            "cd /picked; ls; stat -Lc '%n %a' sub/one; cat sub/one; echo; cd /s; stat -Lc '%n %a' word;"
            "od -An -tx1 key; grep ' /s ' /proc/mounts | cut -d' ' -f1; touch /v/x /s/x; cat /single; echo; ls /none",
            volumeMounts=[*AT_V, at("/picked", "p"), at("/s", "s"), at("/none", "n"), at("/single", subPath="b.txt")],
        ),
        volumes=[
            {"name": "v", "configMap": {"name": "files", "defaultMode": 0o440}},
            {
                "name": "p",
                "configMap": {"name": "files", "items": [{"key": "a.txt", "path": "sub/one", "mode": 0o600}]},
            },
            {"name": "s", "secret": {"secretName": "keys"}},
            {"name": "n", "configMap": {"name": "nosuch", "optional": True}},
        ],
    ),
    pod(
        "together",
        container("cd /v; find . -type l | sort; stat -Lc '%n %a' m/a s token; cat m/a s about/name; cut -c1-2 token",
                  volumeMounts=AT_V),
        volumes=projected(
            {"configMap": {"name": "files", "items": [{"key": "a.txt", "path": "m/a", "mode": 0o444}]}},
            {"secret": {"name": "keys", "items": [{"key": "word", "path": "s"}]}},
            {"secret": {"name": "nosuch", "optional": True}},
            {"downwardAPI": {"items": [{"path": "about/name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"serviceAccountToken": {"path": "token", "audience": "me", "expirationSeconds": 600}},
            defaultMode=0o400,
        ),
    ),
    pod("watching", container(volumeMounts=[*AT_V, at("/about", "about"), at("/fixed", subPath="word")]),
        labels={"step": "one"},
        volumes=[
            {"name": "v", "configMap": {"name": "changing"}},
            {"name": "about",
             "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ]),
    pod("no-token", container("ls /var/run/secrets/kubernetes.io/serviceaccount || echo none")),
    pod("token", container("ls /var/run/secrets/kubernetes.io/serviceaccount; cat /var/run/secrets/*/*/namespace; echo"),
        automountServiceAccountToken=True),
    # subPath
    pod(
        "sub-paths",
        container(
            "echo x > /one/f; echo y > /expr/f; cd /v; find . -type f | sort; stat -c '%n %a' deep/er; pwd -P; ls /link",
            env=[{"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            volumeMounts=[*AT_V, at("/one", subPath="deep/er"), at("/expr", subPathExpr="logs/$(WHO)"),
                          at("/link", subPath="inside")],
        ),
        initContainers=[
            container("mkdir /v/real; touch /v/real/here; ln -s real /v/inside", name="plant", volumeMounts=AT_V)
        ],
        volumes=[WRITABLE],
    ),
    pod("unset-expr", container(volumeMounts=[at("/x", subPathExpr="$(NOSUCH)/a")]), volumes=[WRITABLE]),
    pod("up-expr",
        container(env=[{"name": "UP", "value": "../../etc"}], volumeMounts=[at("/x", subPathExpr="$(UP)")]),
        volumes=[WRITABLE]),
    pod("abs-expr", container(env=[{"name": "UP", "value": "/etc"}], volumeMounts=[at("/x", subPathExpr="$(UP)")]),
        volumes=[WRITABLE]),
    escape("out-absolute", "/"),
    escape("out-relative", "../../../../../../../../"),
    escape("out-loop", "out", "out"),
    escape("out-create", "/tmp", "out/made-by-sub-path"),
    # emptyDir
    pod(
        "memory",
        container("grep ' /m ' /proc/mounts; df -k /m | tail -1; dd if=/dev/zero of=/m/f bs=1M count=8; stat -c %a /m /v",
                  volumeMounts=[at("/m", "m"), *AT_V]),
        volumes=[{"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}}, WRITABLE],
    ),
    pod("shared", container("until [ -f /v/f ]; do sleep 0.1; done; cat /v/f", volumeMounts=AT_V),
        container("echo from the other > /v/f", name="other", volumeMounts=AT_V), volumes=[WRITABLE]),
    pod("too-full", container("dd if=/dev/zero of=/v/f bs=1M count=12; sleep 3600", volumeMounts=AT_V),
        volumes=[{"name": "v", "emptyDir": {"sizeLimit": "8Mi"}}]),
    # volumes of others
    pod("image", container("cat /v/etc/passwd | head -1; touch /v/x; ls /only", volumeMounts=[*AT_V,
        at("/only", subPath="etc")]), volumes=[{"name": "v", "image": {"reference": SHELL}}]),
    pod("no-image", container(volumeMounts=AT_V),
        volumes=[{"name": "v", "image": {"reference": "localhost/no/such:1", "pullPolicy": "Never"}}]),
    pod("no-map", container(volumeMounts=AT_V), volumes=[{"name": "v", "configMap": {"name": "nosuch"}}]),
    pod("no-key", container(volumeMounts=AT_V),
        volumes=[{"name": "v", "secret": {"secretName": "keys", "items": [{"key": "nokey", "path": "x"}]}}]),
    pod("no-claim", container(volumeMounts=AT_V),
        volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "nosuch"}}]),
]  # fmt: skip


def trust_bundle(name: str, certificate: str, signer: str = "", **labels: str) -> Obj:
    spec = {"trustBundle": f"made by a test\n{certificate}", **({"signerName": signer} if signer else {})}
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle", "metadata": metadata, "spec": spec}


def trusting(pod_name: str, **bundle: object) -> Obj:
    script = "cat /v/ca.crt | grep -v -- ----- | tr -d '\\n'; echo; grep -c BEGIN /v/ca.crt"
    return pod(pod_name, container(script, volumeMounts=AT_V),
        volumes=projected({"clusterTrustBundle": {"path": "ca.crt", **bundle}}))  # fmt: skip


def prepare(batch: Batch) -> list[Obj]:
    """Things of every kind on the node, and pods that ask for them."""
    certificate = (batch.cluster.data_dir / "pki" / "ca.crt").read_text()
    for bundle in (
        trust_bundle("fields-roots", certificate),
        trust_bundle("fields.test:mine:one", certificate, "fields.test/mine", live="yes"),
        trust_bundle("fields.test:mine:two", certificate + certificate, "fields.test/mine", live="yes"),
    ):
        batch.cluster.apply(bundle)
    here = batch.cluster.data_dir.parent / "host-paths"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir()
    (here / "file").write_text("content")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(here / "socket"))
    listener.close()
    for name, kind in (("char", 0o020000), ("block", 0o060000)):
        os.mknod(here / name, 0o600 | kind, os.makedev(1, 3) if name == "char" else os.makedev(7, 99))
    return [
        trusting("trust-named", name="fields-roots"),
        trusting("trust-signed", signerName="fields.test/mine", labelSelector={"matchLabels": {"live": "yes"}}),
        trusting("trust-none", signerName="fields.test/mine"),
        host("host-any", here, ""),
        host("host-directory", here, "Directory"),
        host("host-directory-made", here / "made" / "deep", "DirectoryOrCreate", "stat -c '%F %a' /h"),
        host("host-file", here / "file", "File", "cat /h; echo"),
        host("host-file-made", here / "new", "FileOrCreate", "stat -c '%F %a' /h; echo written > /h"),
        host("host-socket", here / "socket", "Socket", "stat -c %F /h"),
        host("host-char", here / "char", "CharDevice", "stat -c %F /h"),
        host("host-block", here / "block", "BlockDevice", "stat -c %F /h"),
        host("host-wrong", here / "file", "Directory"),
        host("host-missing", here / "nothing", "File"),
        host("host-no-socket", here / "file", "Socket"),
    ]


def test_files_have_the_modes_names_and_content_asked_for(batch: Batch):
    assert batch.lines("modes") == [
        "a.txt 440 root",
        "b.txt 440 root",
        "..data/a.txt",
        "1",
        "sub",
        "sub/one 600",
        "first",
        "word 644",
        " 00 ff",
        "tmpfs",
        "touch: /v/x: Read-only file system",
        "touch: /s/x: Read-only file system",
        "second",
    ]


def test_a_projected_volume_holds_all_its_sources(batch: Batch):
    assert batch.lines("together") == [
        "./..data",
        "./about",
        "./m",
        "./s",
        "./token",
        "m/a 444",
        "s 400",
        "token 400",
        "firstsesametogetherey",
    ]


def test_trust_bundles_are_projected_by_name_and_by_signer(batch: Batch):
    certificate = (batch.cluster.data_dir / "pki" / "ca.crt").read_text()
    body = "".join(line for line in certificate.splitlines() if "-----" not in line)
    assert batch.lines("trust-named") == [body, "1"]
    assert batch.lines("trust-signed") == [body, "1"]
    assert "matched zero ClusterTrustBundles" in batch.until_event("trust-none", "FailedMount")
    assert batch.kubectl("get", "clustertrustbundle", "fields.test:mine:one").split()[-1] == "fields.test/mine"


def test_changes_arrive_whole_and_not_through_a_sub_path(batch: Batch):
    batch.running("watching")
    assert batch.exec("watching", "cat /v/word /fixed") == "beforebefore"
    batch.kubectl("patch", "configmap", "changing", "--type=merge", "-p", '{"data":{"word":"after","gone":null}}')
    batch.kubectl("label", "pod", "watching", "step=two", "--overwrite")
    until(lambda: "after" in batch.exec("watching", "cat /v/word"), 100, what="the new content")
    assert batch.exec("watching", "ls /v; ls -A /v | grep -c ^[.][.]20; cat /fixed") == "word\n1\nbefore"
    until(lambda: 'step="two"' in batch.exec("watching", "cat /about/labels"), 100, what="the new label")


def test_the_token_is_mounted_unless_switched_off(batch: Batch):
    assert batch.said("no-token").endswith("none")
    assert batch.lines("token") == ["ca.crt", "namespace", "token", batch.namespace]


def test_a_sub_path_is_made_and_links_within_the_volume_are_followed(batch: Batch):
    lines = batch.lines("sub-paths")
    assert lines == ["./deep/er/f", "./logs/sub-paths/f", "./real/here", "deep/er 777", "/v", "here"]


def test_a_sub_path_never_leads_out_of_its_volume(batch: Batch):
    for name in ("out-absolute", "out-relative", "out-loop", "out-create"):
        batch.until(name, waits("CreateContainerConfigError", "failed to"))
        assert "/seen" not in batch.events(name)[-1][1]
    assert not (Path("/tmp") / "made-by-sub-path").exists()
    batch.until("unset-expr", waits("CreateContainerConfigError", "missing value for NOSUCH"))
    batch.until("up-expr", waits("CreateContainerConfigError", "must not contain '..'"))
    batch.until("abs-expr", waits("CreateContainerConfigError", "must not be an absolute path"))


def test_a_sub_path_that_climbs_is_refused_by_the_api(batch: Batch):
    for path, words in (("../x", "must not contain '..'"), ("/x", "must be a relative path")):
        climbing = pod("climbing", container(volumeMounts=[at("/x", subPath=path)]), volumes=[WRITABLE])
        assert words in batch.refused(climbing)
    nameless = pod("nameless", container(volumeMounts=[at("/x", "other")]), volumes=[WRITABLE])
    assert 'spec.containers[0].volumeMounts[0].name: Not found: "other"' in batch.refused(nameless)


def test_memory_is_limited_by_the_kernel_and_disk_by_eviction(batch: Batch):
    lines = batch.lines("memory")
    assert lines[0].startswith("tmpfs /m tmpfs")
    assert lines[1].split()[1] == "4096"
    assert "No space left on device" in batch.said("memory")
    assert lines[-2:] == ["777", "777"]
    assert batch.said("shared") == "from the other"
    evicted = batch.ended("too-full")["status"]
    assert (evicted["phase"], evicted["reason"]) == ("Failed", "Evicted")
    assert evicted["message"] == 'Usage of EmptyDir volume "v" exceeds the limit "8Mi". '
    assert condition(batch.pod("too-full"), "DisruptionTarget")


def test_paths_of_the_node_are_checked_and_made(batch: Batch):
    assert batch.said("host-any").startswith("drwx")
    assert batch.said("host-directory").startswith("drwx")
    assert batch.said("host-directory-made") == "directory 755"
    assert batch.said("host-file") == "content"
    assert batch.said("host-file-made") == "regular empty file 644"
    assert (batch.cluster.data_dir.parent / "host-paths" / "new").read_text() == "written\n"
    assert batch.said("host-socket") == "socket"
    assert batch.said("host-char") == "character special file"
    assert batch.said("host-block") == "block special file"
    for name, what in (("wrong", "a directory"), ("missing", "a file"), ("no-socket", "a socket file")):
        message = batch.until_event(f"host-{name}", "FailedMount")
        assert message.startswith('MountVolume.SetUp failed for volume "h" : hostPath type check failed: ')
        assert message.endswith(f"is not {what}")


def test_an_image_is_a_read_only_volume(batch: Batch):
    lines = batch.lines("image")
    assert lines[0] == "root:x:0:0:root:/root:/bin/sh"
    assert "Read-only file system" in lines[1]
    assert lines[2:] == ["group", "passwd"]
    assert "not present with pull policy of Never" in batch.until_event("no-image", "ErrImageNeverPull")


def test_volumes_that_name_nothing_are_waited_for(batch: Batch):
    failed = 'MountVolume.SetUp failed for volume "v" : '
    assert batch.until_event("no-map", "FailedMount") == failed + 'configmap "nosuch" not found'
    assert batch.until_event("no-key", "FailedMount") == failed + "references non-existent secret key: nokey"
    assert 'persistentvolumeclaim "nosuch" not found' in batch.until_event("no-claim", "FailedScheduling")
    assert batch.pod("no-map")["status"]["phase"] == "Pending"
    batch.kubectl("create", "configmap", "nosuch", "--from-literal=k=v")
    batch.running("no-map")
