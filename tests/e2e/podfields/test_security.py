"""What a container may do: users, groups, capabilities, file systems, system calls, kernel settings; read from inside."""

import json
from pathlib import Path

from tests.e2e.podfields.conftest import SHELL, Batch, Obj, container, pod, state, waits

AT_V = [{"name": "v", "mountPath": "/v"}]
STATUS = "grep -E '^(Cap(Eff|Prm|Bnd|Inh)|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'"
DEFAULT_CAPABILITIES = 0xA80425FB
"""What the engine leaves to root in a container."""
NET_ADMIN, CHOWN = 1 << 12, 1 << 0
PROFILE = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
}


def secured(name: str, script: str, context: Obj | None = None, **spec: object) -> Obj:
    return pod(name, container(script, securityContext=context or {}), **spec)


def seccomp(name: str, kind: str, **more: str) -> Obj:
    profile = {"seccompProfile": {"type": kind, **more}}
    return secured(name, "grep ^Seccomp: /proc/self/status; mkdir /made; ls -d /made", profile)


OBJECTS = [
    secured("plain", f"id; {STATUS}; touch /x && echo wrote; ls /dev/kmsg; cat /proc/self/oom_score_adj"),
    secured("user", "id; touch /tmp/mine; stat -c '%u:%g' /tmp/mine; touch /etc/x",
            {"runAsUser": 1234, "runAsGroup": 2345}),
    pod(
        "shared-context",
        container("id", securityContext={"runAsUser": 7}),
        container("id", name="other"),
        securityContext={"runAsUser": 1000, "runAsGroup": 3000, "supplementalGroups": [4000, 4001]},
    ),
    pod(
        "fs-group",
        container(
            "id; stat -c '%a %g' /v; umask 077; touch /v/f; mkdir /v/d; stat -c '%g' /v/f; stat -c '%a %g' /v/d;"
            "stat -Lc '%a %u:%g' /m/a /s/token; cat /s/token | cut -c1-2; stat -c '%a %g' /t",
            volumeMounts=[*AT_V, {"name": "m", "mountPath": "/m"}, {"name": "s", "mountPath": "/s"},
                          {"name": "t", "mountPath": "/t"}],
        ),
        securityContext={"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000},
        volumes=[
            {"name": "v", "emptyDir": {}},
            {"name": "t", "emptyDir": {"medium": "Memory"}},
            {"name": "m", "configMap": {"name": "files", "defaultMode": 0o400}},
            {"name": "s", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
        ],
    ),
    pod("token-of-user", container("stat -Lc '%a %u' /s/token; cut -c1-2 /s/token",
            volumeMounts=[{"name": "s", "mountPath": "/s"}]),
        securityContext={"runAsUser": 1000},
        volumes=[{"name": "s", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]),
    secured("non-root-ok", "id -u", {"runAsNonRoot": True, "runAsUser": 5}),
    secured("non-root-zero", "id -u", {"runAsNonRoot": True, "runAsUser": 0}),
    secured("non-root-image", "id -u", {"runAsNonRoot": True}),
    secured("add", STATUS, {"capabilities": {"add": ["NET_ADMIN"]}}),
    secured("drop", STATUS, {"capabilities": {"drop": ["CHOWN"]}}),
    secured("drop-all", STATUS, {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}),
    secured("unprivileged-user", STATUS, {"runAsUser": 1000, "capabilities": {"add": ["NET_ADMIN"]}}),
    secured("privileged", f"{STATUS}; mount -t tmpfs x /tmp && echo mounted; ls /dev/vda /dev/kmsg; "
            "mount | grep -c 'sysfs (ro' || true", {"privileged": True}),
    secured("no-escalation", STATUS, {"allowPrivilegeEscalation": False}),
    secured("escalation", STATUS, {"allowPrivilegeEscalation": True}),
    pod("read-only", container("touch /x; echo fine > /v/x; cat /v/x", securityContext={"readOnlyRootFilesystem": True},
            volumeMounts=AT_V), volumes=[{"name": "v", "emptyDir": {}}]),
    pod("read-only-mount", container("touch /v/x", volumeMounts=[{**AT_V[0], "readOnly": True}]),
        volumes=[{"name": "v", "emptyDir": {}}]),
    seccomp("seccomp-default", "RuntimeDefault"),
    seccomp("seccomp-off", "Unconfined"),
    seccomp("seccomp-own", "Localhost", localhostProfile="profiles/no-mkdir.json"),
    seccomp("seccomp-missing", "Localhost", localhostProfile="profiles/nosuch.json"),
    pod("seccomp-of-pod", container("grep ^Seccomp: /proc/self/status"),
        securityContext={"seccompProfile": {"type": "RuntimeDefault"}}),
    secured("sysctls", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced",
            securityContext={"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "81"},
                                         {"name": "kernel.shm_rmid_forced", "value": "1"}]}),
    secured("masked", "cat /proc/interrupts | wc -c; ls /sys/firmware; echo 1 > /proc/sys/kernel/panic"),
    secured("users", "true", hostUsers=False),
    secured("strict-groups", "true", securityContext={"supplementalGroupsPolicy": "Strict"}),
    secured("unmasked", "true", {"procMount": "Unmasked"}, hostUsers=False),
    pod("recursive", container(volumeMounts=[{**AT_V[0], "readOnly": True, "recursiveReadOnly": "Enabled"}]),
        volumes=[{"name": "v", "emptyDir": {}}]),
    pod("recursive-if", container("touch /v/x", volumeMounts=[
            {**AT_V[0], "readOnly": True, "recursiveReadOnly": "IfPossible"}]), volumes=[{"name": "v", "emptyDir": {}}]),
    secured("selinux", "echo ran", {"seLinuxOptions": {"level": "s0:c1,c2"}}),
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"a": "x"}},
]  # fmt: skip


def prepare(batch: Batch) -> list[Obj]:
    """A seccomp profile where the node looks for them."""
    path: Path = batch.cluster.data_dir / "nodes" / "fields" / "seccomp" / "profiles" / "no-mkdir.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(PROFILE))
    return []


def facts(batch: Batch, name: str) -> dict[str, int]:
    """Capabilities and flags of /proc/self/status."""
    pairs = (line.split(":") for line in batch.lines(name) if ":" in line and line[0] in "CNS")
    return {name: int(value, 16) for name, value in pairs}


def test_users_and_groups_are_those_asked_for(batch: Batch):
    assert batch.lines("plain")[0].startswith("uid=0(root) gid=0(root)")
    assert batch.lines("user") == [
        "uid=1234 gid=2345 groups=2345",
        "1234:2345",
        "touch: /etc/x: Permission denied",
    ]
    assert batch.lines("shared-context") == ["uid=7 gid=3000 groups=3000,4000,4001"]
    assert batch.lines("shared-context", "other") == ["uid=1000 gid=3000 groups=3000,4000,4001"]


def test_volumes_belong_to_the_group_of_the_pod(batch: Batch):
    assert batch.lines("fs-group") == [
        "uid=1000 gid=3000 groups=2000,3000",
        "2777 2000",
        "2000",
        "2700 2000",
        "440 0:2000",
        "640 1000:2000",
        "ey",
        "2777 2000",
    ]
    # Without a group for files the token belongs to the one user of all containers.
    assert batch.lines("token-of-user") == ["600 1000", "ey"]


def test_root_is_refused_where_nobody_may_be_root(batch: Batch):
    assert batch.said("non-root-ok") == "5"
    words = "container's runAsUser breaks non-root policy"
    batch.until("non-root-zero", waits("CreateContainerConfigError", words))
    words = "container has runAsNonRoot and image will run as root"
    batch.until("non-root-image", waits("CreateContainerConfigError", words))


def test_capabilities_are_added_and_dropped(batch: Batch):
    assert facts(batch, "plain")["CapEff"] == DEFAULT_CAPABILITIES
    assert facts(batch, "add")["CapEff"] == DEFAULT_CAPABILITIES | NET_ADMIN
    assert facts(batch, "drop")["CapEff"] == DEFAULT_CAPABILITIES & ~CHOWN
    assert facts(batch, "drop-all")["CapEff"] == facts(batch, "drop-all")["CapBnd"] == 1 << 10
    ordinary = facts(batch, "unprivileged-user")
    assert ordinary["CapEff"] == 0
    assert ordinary["CapBnd"] == DEFAULT_CAPABILITIES | NET_ADMIN


def test_privileged_containers_are_and_others_are_not(batch: Batch):
    plain, privileged = facts(batch, "plain"), facts(batch, "privileged")
    assert "wrote" in batch.lines("plain")
    assert "ls: /dev/kmsg: No such file or directory" in batch.lines("plain")
    assert privileged["CapEff"] & ~plain["CapEff"]
    assert {"mounted", "/dev/vda", "/dev/kmsg"} <= set(batch.lines("privileged"))
    assert privileged["Seccomp"] == 0
    masked = batch.said("masked")
    assert masked.splitlines()[0] == "0"
    assert "Read-only file system" in masked


def test_nothing_gains_privileges_where_that_is_forbidden(batch: Batch):
    assert facts(batch, "no-escalation")["NoNewPrivs"] == 1
    assert facts(batch, "escalation")["NoNewPrivs"] == facts(batch, "plain")["NoNewPrivs"] == 0


def test_read_only_is_read_only(batch: Batch):
    assert batch.lines("read-only") == ["touch: /x: Read-only file system", "fine"]
    assert batch.lines("read-only-mount") == ["touch: /v/x: Read-only file system"]
    assert batch.lines("recursive-if") == ["touch: /v/x: Read-only file system"]
    [mount] = batch.pod("recursive-if")["status"]["containerStatuses"][0]["volumeMounts"]
    assert mount == {"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": "Disabled"}


def test_system_calls_are_filtered_as_asked(batch: Batch):
    assert batch.lines("seccomp-default")[0].split() == ["Seccomp:", "2"]
    assert batch.lines("seccomp-of-pod")[0].split() == ["Seccomp:", "2"]
    assert batch.lines("seccomp-off")[0].split() == ["Seccomp:", "0"]
    assert batch.lines("seccomp-off")[-1] == "/made"
    own = batch.lines("seccomp-own")
    assert own[0].split() == ["Seccomp:", "2"]
    assert any("mkdir: can't create directory '/made': Operation not permitted" in line for line in own)
    batch.until("seccomp-missing", waits("CreateContainerError", "seccomp/profiles/nosuch.json"))


def test_kernel_settings_of_the_pods_namespaces(batch: Batch):
    assert batch.lines("sysctls") == ["81", "1"]
    unsafe = secured("unsafe", "true", securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "9"}]})
    batch.create(unsafe)
    refused = batch.ended("unsafe")["status"]
    assert (refused["phase"], refused["reason"]) == ("Failed", "SysctlForbidden")
    assert refused["message"] == 'Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted'


def test_an_engine_without_selinux_ignores_its_options(batch: Batch):
    assert batch.lines("selinux") == ["ran"]


def test_what_the_engine_cannot_do_is_refused_by_name(batch: Batch):
    expected = {
        "users": "spec.hostUsers: false (user namespaces)",
        "strict-groups": "spec.securityContext.supplementalGroupsPolicy: Strict",
        "unmasked": "spec.hostUsers: false (user namespaces); container c: securityContext.procMount",
        "recursive": "container c: volumeMounts recursiveReadOnly",
    }
    for name, features in expected.items():
        batch.until(name, waits("Unsupported", features))
        assert batch.until_event(name, "Unsupported") == f"not supported by this node: {features}"
    assert state(batch.pod("plain"))["terminated"]["reason"] == "Completed"
    assert SHELL
