"""Commands, arguments, variables, and what a pod is told about itself."""

import base64

from tests.e2e.podfields.conftest import SHELL, Batch, config_map, container, pod, waits

SHOW = r"tr '\0' '\n' < /proc/1/environ | sort"
RESOURCES = {
    "requests": {"cpu": "50m", "memory": "20Mi", "ephemeral-storage": "1Mi"},
    "limits": {"cpu": "1500m", "memory": "33Mi", "ephemeral-storage": "50Mi"},
}


def ref(kind: str, name: str, key: str, **more: object) -> dict:
    return {"valueFrom": {kind: {"name": name, "key": key, **more}}}


def field(name: str, path: str) -> dict:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def amount(name: str, resource: str, **more: str) -> dict:
    return {"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, **more}}}


FIELDS = {
    "F_NAME": "metadata.name",
    "F_NS": "metadata.namespace",
    "F_UID": "metadata.uid",
    "F_LABEL": "metadata.labels['tier']",
    "F_NOTE": "metadata.annotations['example.com/note']",
    "F_NODE": "spec.nodeName",
    "F_ACCOUNT": "spec.serviceAccountName",
    "F_HOST": "status.hostIP",
    "F_HOSTS": "status.hostIPs",
    "F_IP": "status.podIP",
    "F_IPS": "status.podIPs",
}
AMOUNTS = [
    amount("R_CPU", "limits.cpu"),
    amount("R_CPU_M", "limits.cpu", divisor="1m"),
    amount("R_ASKED", "requests.cpu", divisor="1m"),
    amount("R_MEM", "limits.memory"),
    amount("R_MEM_MI", "limits.memory", divisor="1Mi"),
    amount("R_DISK", "limits.ephemeral-storage", divisor="1Mi"),
    amount("R_OTHER", "limits.cpu", containerName="other", divisor="1m"),
]
ITEMS = [
    {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
    {"path": "notes", "fieldRef": {"fieldPath": "metadata.annotations"}},
    {"path": "deep/mem", "mode": 0o400, "resourceFieldRef": {"containerName": "c", "resource": "limits.memory"}},
]


def described() -> dict:
    """A pod that is told all there is."""
    main = container(
        f"{SHOW}; cat /about/labels; echo; cat /about/notes; echo; cat /about/deep/mem; echo; stat -Lc %a /about/deep/mem",
        env=[field(name, path) for name, path in FIELDS.items()] + AMOUNTS,
        resources=RESOURCES,
        volumeMounts=[{"name": "about", "mountPath": "/about"}],
    )
    other = container("true", name="other")
    made = pod(
        "told", main, other, labels={"tier": "front"}, volumes=[{"name": "about", "downwardAPI": {"items": ITEMS}}]
    )
    made["metadata"]["annotations"] = {"example.com/note": 'say "hi"'}
    return made


OBJECTS = [
    config_map("one", colour="green", shape="round", **{"with.dot": "kept"}),
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hidden"},
        "data": {"word": base64.b64encode(b"sesame").decode()},
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "my-db"},
        "spec": {"clusterIP": "10.96.33.44", "ports": [{"name": "sql", "port": 5432}, {"name": "admin", "port": 80}]},
    },
    pod(
        "expanded",
        {
            "name": "c",
            "image": SHELL,
            "command": ["sh", "-c", 'printf "%s|" "$0" "$@"; echo; pwd; ' + SHOW],
            "args": ["zero", "$(WORD)", "$$(WORD)", "$(NONE)", "$(LATE)"],
            "workingDir": "/tmp",
            "env": [
                {"name": "WORD", "value": "hello"},
                {"name": "BOTH", "value": "$(WORD)-$(LATE)-$(COLOUR)"},
                {"name": "LATE", "value": "late"},
                {"name": "COLOUR", **ref("configMapKeyRef", "one", "colour")},
                {"name": "SECRET", **ref("secretKeyRef", "hidden", "word")},
                {"name": "MAYBE", **ref("configMapKeyRef", "one", "nokey", optional=True)},
                {"name": "PERHAPS", **ref("secretKeyRef", "nosuch", "word", optional=True)},
                {"name": "shape", "value": "own"},
            ],
            "envFrom": [
                {"configMapRef": {"name": "one"}},
                {"prefix": "P_", "secretRef": {"name": "hidden"}},
                {"configMapRef": {"name": "nosuch", "optional": True}},
            ],
        },
    ),
    # Without a shell in between: some drop names that they could not write.
    pod(
        "odd-names",
        {
            "name": "c",
            "image": SHELL,
            "command": ["/bin/env"],
            "envFrom": [{"prefix": prefix, "configMapRef": {"name": "one"}} for prefix in ("1-", "$_-", "#@!")],
        },
    ),
    pod("of-the-image", {"name": "c", "image": SHELL, "args": ["-c", "echo args only"], "command": ["/bin/sh"]}),
    described(),
    pod("unlimited", container(SHOW, env=[amount("CPU", "limits.cpu", divisor="1m"), amount("MEM", "limits.memory")])),
    pod("linked", container(SHOW)),
    pod("unlinked", container(SHOW), enableServiceLinks=False),
    pod("no-map", container(env=[{"name": "A", **ref("configMapKeyRef", "nosuch", "k")}])),
    pod("no-key", container(env=[{"name": "A", **ref("secretKeyRef", "hidden", "k")}])),
    pod("no-source", container(envFrom=[{"secretRef": {"name": "nosuch"}}])),
    pod("late-map", container(SHOW, env=[{"name": "A", **ref("configMapKeyRef", "late", "k")}])),
]


def variables(batch: Batch, name: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in batch.lines(name) if "=" in line)


def test_commands_arguments_and_variables_are_expanded(batch: Batch):
    lines = batch.lines("expanded")
    assert lines[0] == "zero|hello|$(WORD)|$(NONE)|late|"
    assert lines[1] == "/tmp"
    seen = variables(batch, "expanded")
    assert seen["BOTH"] == "hello-$(LATE)-$(COLOUR)"
    assert (seen["COLOUR"], seen["SECRET"], seen["colour"], seen["P_word"]) == ("green", "sesame", "green", "sesame")
    assert (seen["shape"], seen["with.dot"]) == ("own", "kept")
    assert not {"MAYBE", "PERHAPS"} & seen.keys()
    assert batch.said("of-the-image") == "args only"
    assert {"1-colour", "$_-colour", "#@!colour"} <= variables(batch, "odd-names").keys()


def test_a_pod_is_told_about_itself_and_its_node(batch: Batch):
    told, seen = batch.ended("told"), variables(batch, "told")
    assert seen["F_NAME"] == "told"
    assert (seen["F_NS"], seen["F_UID"]) == (batch.namespace, told["metadata"]["uid"])
    assert (seen["F_LABEL"], seen["F_NOTE"]) == ("front", 'say "hi"')
    assert (seen["F_NODE"], seen["F_ACCOUNT"]) == ("fields", "default")
    assert seen["F_HOST"] == seen["F_HOSTS"] == told["status"]["hostIP"] == told["status"]["hostIPs"][0]["ip"]
    # An ended pod has given its address back.
    assert seen["F_IP"] == seen["F_IPS"]
    assert seen["F_IP"].startswith("10.244.0.")
    amounts = {name: seen[name] for name in seen if name.startswith("R_")}
    assert amounts == {
        "R_CPU": "2",
        "R_CPU_M": "1500",
        "R_ASKED": "50",
        "R_MEM": str(33 << 20),
        "R_MEM_MI": "33",
        "R_DISK": "50",
        "R_OTHER": batch_allocatable(batch),
    }
    lines = batch.lines("told")
    assert 'tier="front"' in lines
    assert 'example.com/note="say \\"hi\\""' in lines
    assert lines[-2:] == [str(33 << 20), "400"]


def batch_allocatable(batch: Batch) -> str:
    """What stands in for a limit that a container has not: the node's CPUs, in thousandths."""
    return batch.cluster.get("node", "fields")["status"]["allocatable"]["cpu"].removesuffix("m")


def test_a_missing_limit_is_what_the_node_can_give(batch: Batch):
    seen = variables(batch, "unlimited")
    allocatable = batch.cluster.get("node", "fields")["status"]["allocatable"]
    assert seen["CPU"] == batch_allocatable(batch)
    assert int(seen["MEM"]) == int(allocatable["memory"].removesuffix("Ki")) * 1024


def test_services_become_variables_unless_that_is_switched_off(batch: Batch):
    linked, unlinked = variables(batch, "linked"), variables(batch, "unlinked")
    expected = {
        "MY_DB_SERVICE_HOST": "10.96.33.44",
        "MY_DB_SERVICE_PORT": "5432",
        "MY_DB_SERVICE_PORT_SQL": "5432",
        "MY_DB_SERVICE_PORT_ADMIN": "80",
        "MY_DB_PORT": "tcp://10.96.33.44:5432",
        "MY_DB_PORT_80_TCP": "tcp://10.96.33.44:80",
        "MY_DB_PORT_80_TCP_ADDR": "10.96.33.44",
        "MY_DB_PORT_80_TCP_PROTO": "tcp",
    }
    assert expected.items() <= linked.items()
    assert not [name for name in unlinked if name.startswith("MY_DB")]
    assert unlinked["KUBERNETES_SERVICE_HOST"] == linked["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"


def test_what_is_missing_holds_back_the_container_until_it_is_there(batch: Batch):
    batch.until("no-map", waits("CreateContainerConfigError", 'configmap "nosuch" not found'))
    batch.until("no-key", waits("CreateContainerConfigError", "couldn't find key k in Secret environment/hidden"))
    batch.until("no-source", waits("CreateContainerConfigError", 'secret "nosuch" not found'))
    batch.until("late-map", waits("CreateContainerConfigError", 'configmap "late" not found'))
    assert batch.until_event("no-map", "Failed", 'Error: configmap "nosuch" not found')
    batch.kubectl("create", "configmap", "late", "--from-literal=k=v")
    assert variables(batch, "late-map")["A"] == "v"
