"""The course of a pod's life: order of containers at start and end, hooks, probes, restarts, messages, deadlines."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from tests.e2e.conftest import until
from tests.e2e.podfields.conftest import Batch, Obj, condition, container, pod, state, waits

LOG = [{"name": "log", "mountPath": "/log"}]
SHARED = {"volumes": [{"name": "log", "emptyDir": {}}]}
KEPT = {"volumes": [{"name": "log", "hostPath": {"path": "@kept", "type": "DirectoryOrCreate"}}]}
"""A directory of the node's, which outlives the pod."""

WAIT_FOR_TERM = "trap 'note {name}-end; exit 0' TERM; note {name}; while :; do sleep 0.1; done"
NOTE = "note() { echo $1 >> /log/log; }; "


def told(name: str, script: str, **fields: Any) -> Obj:
    """A container that notes what happens in a file that all share."""
    return container(NOTE + script, name=name, volumeMounts=LOG, **fields)


def stays(name: str, **fields: Any) -> Obj:
    return told(name, WAIT_FOR_TERM.format(name=name), **fields)


def runs(command: str) -> Obj:
    return {"exec": {"command": ["sh", "-c", command]}}


def asks(path: str) -> Obj:
    return {"httpGet": {"path": path, "port": 8080}}


def rule(action: str, operator: str, *codes: int) -> Obj:
    return {"action": action, "exitCodes": {"operator": operator, "values": list(codes)}}


def every(command: str, **fields: Any) -> Obj:
    return {**runs(command), "periodSeconds": 1, **fields}


HEALTH_SERVER = """
import grpc
from concurrent.futures import ThreadPoolExecutor
def check(request, _):
    return bytes((8, 1 if b"well" in request else 2))  # SERVING or NOT_SERVING
server = grpc.server(ThreadPoolExecutor(1))
handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
server.add_insecure_port("0.0.0.0:5000")
server.start()
server.wait_for_termination()
"""


def grpc_probe(service: str, port: int = 5000, **fields: Any) -> Obj:
    return {"grpc": {"port": port, "service": service}, "periodSeconds": 1, "timeoutSeconds": 5, **fields}


ONCE = "if [ -f /log/once ]; then {second}; else touch /log/once; {first}; fi"
SIDECAR = {"restartPolicy": "Always"}
OBJECTS = [
    # Order of start, and of end by itself
    pod("order",
        told("c", "note c; sleep 1"),
        initContainers=[
            told("i1", "note i1; sleep 0.3; note i1-end"),
            stays("s1", **SIDECAR, startupProbe=every("test -f /log/s1-up || { touch /log/s1-up; false; }")),
            told("i2", "note i2"),
            stays("s2", **SIDECAR),
        ],
        **KEPT),
    # Order of end by deletion; the sidecars' hooks do not wait for their turn
    pod("deleted",
        told("c", "trap 'sleep 1; note c-end; exit 0' TERM; note c; while :; do sleep 0.1; done",
             lifecycle={"preStop": runs("echo c-hook >> /log/log")}),
        initContainers=[
            stays("s1", **SIDECAR, lifecycle={"preStop": runs("echo s1-hook >> /log/log")}),
            stays("s2", **SIDECAR),
        ],
        terminationGracePeriodSeconds=20,
        **KEPT),
    pod("init-fails", container("true"), initContainers=[container("exit 3", name="i")]),
    pod("init-retries", told("c", "cat /log/tries"),
        initContainers=[told("i", "echo x >> /log/tries; [ $(wc -l < /log/tries) = 2 ]")],
        restartPolicy="OnFailure", **SHARED),
    # Hooks
    pod("post-start", container("until [ -s /started ]; do sleep 0.1; done; cat /started", lifecycle={"postStart": runs("echo yes > /started")})),
    pod("post-start-fails", container(lifecycle={"postStart": runs("exit 4")}), restartPolicy="Always"),
    pod("hooks-by-http",
        stays("c", lifecycle={"postStart": asks("/begun"), "preStop": asks("/ending")}),
        initContainers=[told("s", "cd /tmp; touch begun ending; exec httpd -f -vv -p 8080 2>> /log/log", **SIDECAR,
            startupProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1})], **KEPT),
    pod("pre-stop-sleep", container("trap 'exit 0' TERM; while :; do sleep 0.1; done",
        lifecycle={"preStop": {"sleep": {"seconds": 3}}}), terminationGracePeriodSeconds=30),
    pod("signalled", container("trap 'echo usr1 > /dev/termination-log; exit 5' USR1; while :; do sleep 0.1; done",
        lifecycle={"stopSignal": "SIGUSR1"}), os={"name": "linux"},
        terminationGracePeriodSeconds=10),
    # Probes
    pod("probed", container("httpd -f -p 8080 -h /tmp",
        ports=[{"name": "web", "containerPort": 8080}],
        startupProbe={"tcpSocket": {"port": "web"}, "periodSeconds": 1},
        readinessProbe={"httpGet": {"path": "/ready", "port": "web"}, "periodSeconds": 1}), restartPolicy="Always"),
    pod("alive-not", container("trap '' TERM; while :; do sleep 0.1; done",
        livenessProbe=every("exit 9", failureThreshold=2, terminationGracePeriodSeconds=1)),
        terminationGracePeriodSeconds=600, restartPolicy="Always"),
    pod("never-up", container(startupProbe=every("exit 1", failureThreshold=2, terminationGracePeriodSeconds=1)),
        terminationGracePeriodSeconds=600),
    pod("closed-port", container(readinessProbe={"tcpSocket": {"port": 81}, "periodSeconds": 1}), restartPolicy="Always"),
    pod("slow-probe", container(readinessProbe=every("sleep 30", timeoutSeconds=1)), restartPolicy="Always"),
    # The tests' own Python is the gRPC server: a container that is rooted in the node's file system.
    pod("grpc",
        container(f"exec /bin/busybox chroot /host {sys.executable} -c \"$SERVER\"",
            env=[{"name": "SERVER", "value": HEALTH_SERVER}],
            volumeMounts=[{"name": "host", "mountPath": "/host", "readOnly": True}],
            startupProbe=grpc_probe("well", failureThreshold=100), readinessProbe=grpc_probe("well")),
        container(name="ill", readinessProbe=grpc_probe("ill"),
            startupProbe=grpc_probe("well", failureThreshold=100),
            livenessProbe=grpc_probe("ill", failureThreshold=1, terminationGracePeriodSeconds=1)),
        container(name="deaf", readinessProbe=grpc_probe("well", 5001)),
        volumes=[{"name": "host", "hostPath": {"path": "/"}}], restartPolicy="Always"),
    # Restarts
    pod("restarts", told("c", "echo x >> /log/n; exit $(( 3 - $(wc -l < /log/n) ))"), restartPolicy="OnFailure",
        **SHARED),
    pod("own-policy", told("c", ONCE.format(first="exit 1", second="exit 0"), restartPolicy="OnFailure"),
        container("exit 0", name="d"), **SHARED),
    pod("by-rule", told("c", ONCE.format(first="exit 42", second="exit 7"), restartPolicy="Never",
        restartPolicyRules=[rule("Restart", "In", 42)]), **SHARED),
    pod("all-again",
        told("c", "note c; " + ONCE.format(first="sleep 1; exit 42", second="sleep 1; exit 0"), restartPolicy="Never",
             restartPolicyRules=[rule("Restart", "In", 7), rule("RestartAllContainers", "In", 42)]),
        told("d", "note d; [ -f /log/once ] && exit 0; sleep 3600", lifecycle={"preStop": runs("echo hook >> /log/log")}),
        initContainers=[told("i", "note i")], **KEPT),
    pod("loops", container("exit 1"), restartPolicy="Always"),
    # Messages
    pod("message", container("printf fine > /dev/termination-log")),
    pod("message-path", container("printf there > /tmp/said; exit 1", terminationMessagePath="/tmp/said")),
    pod("message-log", container("echo out; echo last words >&2; exit 1",
        terminationMessagePolicy="FallbackToLogsOnError")),
    pod("message-part", container("printf 'no line end'; exit 1", terminationMessagePolicy="FallbackToLogsOnError")),
    pod("message-file", container("echo out; exit 1")),
    pod("message-long", container("yes 0123456789 | head -c 9000 > /dev/termination-log"), container("true", name="b"),
        container("true", name="d"), container("true", name="e")),
    pod("deadline", container("trap 'exit 0' TERM; while :; do sleep 0.1; done"), activeDeadlineSeconds=3),
    pod("killed-late", container("trap '' TERM; echo up; while :; do sleep 0.1; done"), terminationGracePeriodSeconds=3),
    pod("from-file",
        container("echo $A-$B-$C", env=[
            {"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "d/env", "key": "A"}}},
            {"name": "B", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "d/env", "key": "NO", "optional": True}}},
            {"name": "C", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "no", "key": "C", "optional": True}}}]),
        initContainers=[container("mkdir /v/d; echo \"A='from a file'\" > /v/d/env; ln -s /etc/passwd /v/out", name="i",
            volumeMounts=[{"name": "v", "mountPath": "/v"}])],
        volumes=[{"name": "v", "emptyDir": {}}]),
    pod("from-outside", container(env=[
            {"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "out", "key": "root"}}}]),
        initContainers=[container("ln -s /etc/passwd /v/out", name="i",
            volumeMounts=[{"name": "v", "mountPath": "/v"}])],
        volumes=[{"name": "v", "emptyDir": {}}]),
]  # fmt: skip


def prepare(batch: Batch) -> list[Obj]:
    """Each pod whose notes outlive it has a directory of its own."""
    for each in OBJECTS:
        for volume in each["spec"].get("volumes") or ():
            if (volume.get("hostPath") or {}).get("path") == "@kept":
                place = {**volume["hostPath"], "path": str(kept(batch, each["metadata"]["name"]))}
                each["spec"]["volumes"] = [{**volume, "hostPath": place}]
    return []


def kept(batch: Batch, name: str) -> Path:
    return batch.cluster.data_dir.parent / "notes" / name


def notes(batch: Batch, name: str) -> list[str]:
    path = kept(batch, name) / "log"
    return path.read_text().split() if path.exists() else []


def terminated(batch: Batch, name: str, container: str = "c") -> Obj:
    return state(batch.ended(name), container)["terminated"]


def test_containers_start_in_order_and_sidecars_end_last(batch: Batch):
    assert batch.ended("order")["status"]["phase"] == "Succeeded"
    until(lambda: "s1-end" in notes(batch, "order"))
    seen = notes(batch, "order")
    assert seen == ["i1", "i1-end", "s1", "i2", *sorted(["s2", "c"], key=seen.index), "s2-end", "s1-end"]
    assert seen.index("s2") < seen.index("s2-end")


def test_at_deletion_hooks_run_first_and_sidecars_end_in_reverse(batch: Batch):
    batch.running("deleted")
    until(lambda: {"c", "s1", "s2"} <= set(notes(batch, "deleted")))
    batch.kubectl("delete", "pod", "deleted", "--timeout=60s")
    ends = [word for word in notes(batch, "deleted") if "-" in word]
    assert sorted(ends[:2]) == ["c-hook", "s1-hook"]
    assert ends[2:] == ["c-end", "s2-end", "s1-end"]


def test_init_containers_fail_or_repeat_as_the_policy_says(batch: Batch):
    failed = batch.ended("init-fails")["status"]
    assert failed["phase"] == "Failed"
    assert state(batch.pod("init-fails"), "i")["terminated"]["exitCode"] == 3
    assert state(batch.pod("init-fails"))["waiting"]["reason"] == "PodInitializing"
    assert batch.lines("init-retries") == ["x", "x"]
    assert batch.pod("init-retries")["status"]["initContainerStatuses"][0]["restartCount"] == 1


def test_hooks_run_at_start_and_end(batch: Batch):
    assert batch.said("post-start") == "yes"
    assert "PostStartHook failed" in batch.until_event("post-start-fails", "FailedPostStartHook")
    batch.running("hooks-by-http")
    asked = kept(batch, "hooks-by-http") / "log"
    assert "/begun" in asked.read_text()
    assert "/ending" not in asked.read_text()
    batch.kubectl("delete", "pod", "hooks-by-http", "--timeout=60s")
    assert "/ending" in asked.read_text()
    batch.running("pre-stop-sleep")
    began = time.monotonic()
    batch.kubectl("delete", "pod", "pre-stop-sleep", "--timeout=60s")
    assert time.monotonic() - began >= 3
    batch.running("signalled")
    batch.kubectl("patch", "pod", "signalled", "-p", '{"spec":{"activeDeadlineSeconds":1}}')
    ended = terminated(batch, "signalled")
    assert (ended["exitCode"], ended["message"]) == (5, "usr1\n")
    assert batch.pod("signalled")["status"]["containerStatuses"][0]["stopSignal"] == "SIGUSR1"


def test_probes_hold_back_and_restart(batch: Batch):
    assert batch.until_event("probed", "Unhealthy", "Readiness probe failed: ")
    assert not condition(batch.pod("probed"), "Ready")
    batch.exec("probed", "echo ok > /tmp/ready")
    batch.running("probed")
    again = batch.until("alive-not", lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] >= 1)
    assert again["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137
    assert "failed liveness probe, will be restarted" in batch.until_event("alive-not", "Killing")
    assert terminated(batch, "never-up")["exitCode"] == 137
    assert "failed startup probe" in batch.until_event("never-up", "Killing")
    assert "connection refused" in batch.until_event("closed-port", "Unhealthy", "Readiness probe failed: dial tcp")
    assert "timed out" in batch.until_event("slow-probe", "Unhealthy", "Readiness probe failed")
    for name in ("closed-port", "slow-probe"):
        assert not condition(batch.pod(name), "Ready")


def test_probes_ask_a_health_service(batch: Batch):
    def now(name: str) -> Obj:
        return next(each for each in batch.pod("grpc")["status"]["containerStatuses"] if each["name"] == name)

    until(lambda: now("c")["ready"], 120, what="SERVING")
    assert 'service unhealthy (responded with "NOT_SERVING")' in batch.until_event("grpc", "Unhealthy", "responded")
    until(lambda: now("ill")["restartCount"] > 0, 120, what="a restart for NOT_SERVING")
    assert "failed to connect service" in batch.until_event("grpc", "Unhealthy", ":5001")
    assert not now("ill")["ready"]
    assert not now("deaf")["ready"]
    assert now("c")["restartCount"] == 0


def test_containers_restart_as_policies_and_rules_say(batch: Batch):
    def count(name: str, container: int = 0) -> int:
        return batch.pod(name)["status"]["containerStatuses"][container]["restartCount"]

    assert batch.ended("restarts")["status"]["phase"] == "Succeeded"
    assert count("restarts") == 2
    assert batch.ended("own-policy")["status"]["phase"] == "Succeeded"
    assert (count("own-policy"), count("own-policy", 1)) == (1, 0)
    assert terminated(batch, "by-rule")["exitCode"] == 7
    assert count("by-rule") == 1
    words = "restarting failed container=c pod=loops_"
    batch.until("loops", waits("CrashLoopBackOff", words))
    assert batch.until_event("loops", "BackOff").startswith("Back-off restarting failed container c in pod loops_")


def test_one_container_can_have_all_of_them_started_anew(batch: Batch):
    done = batch.ended("all-again")["status"]
    assert done["phase"] == "Succeeded"
    seen = notes(batch, "all-again")
    assert seen[0] == seen[3] == "i"
    assert sorted(seen) == ["c", "c", "d", "d", "i", "i"]
    statuses = [*done["initContainerStatuses"], *done["containerStatuses"]]
    assert [each["restartCount"] for each in statuses] == [1, 1, 1]
    first = next(each for each in done["containerStatuses"] if each["name"] == "c")
    assert first["lastState"]["terminated"]["exitCode"] == 42
    restarting = next(each for each in done["conditions"] if each["type"] == "AllContainersRestarting")
    assert restarting["status"] == "False"


def test_last_words_reach_the_status(batch: Batch):
    assert terminated(batch, "message")["message"] == "fine"
    assert terminated(batch, "message-path")["message"] == "there"
    assert terminated(batch, "message-log")["message"] == "out\nlast words\n"
    assert terminated(batch, "message-part")["message"] == "no line end"
    assert "message" not in terminated(batch, "message-file")
    assert len(terminated(batch, "message-long")["message"]) == 12 * 1024 // 4


def test_pods_end_at_their_deadline_and_after_their_grace(batch: Batch):
    over = batch.ended("deadline")["status"]
    assert (over["phase"], over["reason"]) == ("Failed", "DeadlineExceeded")
    batch.running("killed-late")
    began = time.monotonic()
    batch.kubectl("delete", "pod", "killed-late", "--timeout=80s")
    assert time.monotonic() - began >= 3


def test_variables_come_from_files_of_earlier_containers(batch: Batch):
    assert batch.said("from-file") == "from a file--"
    batch.until("from-outside", waits("CreateContainerConfigError", "couldn't read env file"))
    assert json.dumps(batch.pod("from-outside")).count("x:0:0") == 0
