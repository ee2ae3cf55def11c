"""Requests and limits as the kernel got them, quality of service, resizing, priorities, runtime classes."""

import json

from tests.e2e.conftest import until
from tests.e2e.podfields.conftest import Batch, Obj, container, pod, state

V1, V2 = "/sys/fs/cgroup/cpu", "/sys/fs/cgroup"
LIMITS = (
    "if [ -d /sys/fs/cgroup/cpu ]; then cd /sys/fs/cgroup; "
    "cat cpu/cpu.shares cpu/cpu.cfs_quota_us memory/memory.limit_in_bytes; "
    "else cd /sys/fs/cgroup; cat cpu.weight cpu.max memory.max; fi"
)
SCORE = "cat /proc/self/oom_score_adj"
MANY = 1 << 60
"""More bytes than any machine has: how the kernel says that there is no limit."""


def sized(name: str, requests: Obj | None = None, limits: Obj | None = None, script: str = "", **spec: object) -> Obj:
    resources = {key: amounts for key, amounts in (("requests", requests), ("limits", limits)) if amounts}
    return pod(name, container(f"{SCORE}; {script or LIMITS}", resources=resources), **spec)


CLASSES = [
    {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "fields-high"}, "value": 1000},
    {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "fields-runc"},
        "handler": "runc",
        "overhead": {"podFixed": {"cpu": "20m", "memory": "8Mi"}},
    },
    {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "fields-none"}, "handler": "nosuch"},
]
OBJECTS = [
    sized("best-effort"),
    sized("burstable", {"cpu": "100m", "memory": "64Mi"}),
    sized("limited", limits={"cpu": "200m", "memory": "48Mi"}),
    sized("half", {"cpu": "50m", "memory": "24Mi"}, {"cpu": "250m", "memory": "48Mi"}),
    pod("whole", container(LIMITS, resources={"requests": {"cpu": "10m"}}), container("true", name="b"),
        resources={"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}),
    pod("too-much", container("head -c 100m /dev/zero | tail", resources={"limits": {"memory": "16Mi"}})),
    pod("resized", container("sleep 3600", resources={"requests": {"cpu": "50m", "memory": "32Mi"},
        "limits": {"cpu": "100m", "memory": "64Mi"}}), restartPolicy="Always"),
    pod("full", container("dd if=/dev/zero of=/v/f bs=1M count=24; touch /v/written; sleep 3600",
        volumeMounts=[{"name": "v", "mountPath": "/v"}], resources={"limits": {"cpu": "100m", "memory": "96Mi"}}),
        volumes=[{"name": "v", "emptyDir": {"medium": "Memory"}}]),
    pod("written", container("dd if=/dev/zero of=/big bs=1M count=12; sleep 3600",
        resources={"limits": {"ephemeral-storage": "4Mi"}})),
    sized("priority", priorityClassName="fields-high"),
    sized("overhead", {"cpu": "10m"}, runtimeClassName="fields-runc"),
    sized("critical", priorityClassName="system-node-critical"),
    pod("huge", container(resources={"limits": {"hugepages-2Mi": "4Mi", "memory": "16Mi"}})),
    pod("no-handler", container(), runtimeClassName="fields-none"),
]  # fmt: skip


def prepare(batch: Batch) -> list[Obj]:
    """Classes first, since admission asks for them."""
    for each in CLASSES:
        batch.cluster.apply(each)
    return []


def kernel(batch: Batch, name: str, skip: int = 1) -> list[int]:
    """CPU shares (or weight), quota in microseconds for each 100 ms (0 for none), and memory in bytes (0 for none)."""
    lines = batch.lines(name)[skip:]
    weight, quota, memory = (line.split()[0].replace("max", "-1") for line in lines)
    return [int(weight), max(int(quota), 0), 0 if int(memory) > MANY else max(int(memory), 0)]


def weight(shares: int) -> int:
    """Shares as this kernel counts them."""
    from sparsam.agent.cgroups import CGROUP_ROOT, Cgroups, cpu_weight

    return cpu_weight(shares) if Cgroups("/", CGROUP_ROOT).unified else shares


def test_requests_and_limits_are_set_in_the_control_group(batch: Batch):
    assert kernel(batch, "best-effort") == [weight(2), 0, 0]
    assert kernel(batch, "burstable") == [weight(102), 0, 0]
    assert kernel(batch, "limited") == [weight(204), 20_000, 48 << 20]
    assert kernel(batch, "half") == [weight(51), 25_000, 48 << 20]
    # The pod's own limits are set on its group, not on that of each container.
    assert kernel(batch, "whole", 0)[0] == weight(10)


def test_quality_of_service_decides_whom_the_kernel_kills_first(batch: Batch):
    classes = {
        name: batch.ended(name)["status"]["qosClass"] for name in ("best-effort", "burstable", "limited", "half")
    }
    assert classes == {
        "best-effort": "BestEffort", "burstable": "Burstable", "limited": "Guaranteed", "half": "Burstable"
    }  # fmt: skip
    assert batch.ended("whole")["status"]["qosClass"] == "Burstable"
    memory = int(batch.cluster.get("node", "fields")["status"]["capacity"]["memory"].removesuffix("Ki")) << 10
    assert batch.lines("best-effort")[0] == "1000"
    assert batch.lines("burstable")[0] == str(max(3, min(999, 1000 - 1000 * (64 << 20) // memory)))
    # Without the privilege to lower it, the engine leaves a container the score of its own processes.
    ours = int(open("/proc/self/oom_score_adj").read())  # noqa: PTH123, SIM115
    assert int(batch.lines("limited")[0]) in (-997, ours)
    assert int(batch.lines("critical")[0]) in (-997, ours)
    killed = state(batch.ended("too-much"))["terminated"]
    assert (killed["reason"], killed["exitCode"]) == ("OOMKilled", 137)


def test_containers_are_resized_while_they_run(batch: Batch):
    before = batch.running("resized")
    patch = (
        '{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"80m"},'
        '"limits":{"cpu":"300m","memory":"96Mi"}}}]}}'
    )
    batch.kubectl("patch", "pod", "resized", "--subresource", "resize", "-p", patch)
    until(lambda: str(96 << 20) in batch.exec("resized", LIMITS), 120, what="the new limit")
    seen = batch.exec("resized", LIMITS).split()
    assert seen[:2] == [str(weight(81)), "30000"]
    after = batch.until("resized", lambda pod: status(pod)["resources"]["limits"]["memory"] == "96Mi")
    assert status(after)["restartCount"] == 0
    assert status(after)["containerID"] == status(before)["containerID"]
    assert status(after)["allocatedResources"] == {"cpu": "80m", "memory": "32Mi"}
    assert after["status"]["observedGeneration"] == after["metadata"]["generation"] == 2
    hopeless = '{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"500"},"requests":{"cpu":"500"}}}]}}'
    batch.kubectl("patch", "pod", "resized", "--subresource", "resize", "-p", hopeless)
    pending = batch.until("resized", lambda pod: condition_of(pod, "PodResizePending"))
    assert condition_of(pending, "PodResizePending")["reason"] == "Infeasible"


def test_a_memory_limit_shrinks_as_far_as_what_is_used(batch: Batch):
    def resize(memory: str) -> None:
        amounts = {"limits": {"memory": memory}, "requests": {"memory": memory}}
        patch = json.dumps({"spec": {"containers": [{"name": "c", "resources": amounts}]}})
        batch.kubectl("patch", "pod", "full", "--subresource", "resize", "-p", patch)

    def settled(memory: str) -> Obj:
        return batch.until("full", lambda pod: status(pod)["resources"]["limits"]["memory"] == memory)

    batch.running("full")
    until(lambda: "written" in batch.exec("full", "ls /v"), 120, what="the memory in use")
    resize("64Mi")
    assert condition_of(settled("64Mi"), "PodResizeInProgress") is None
    assert str(64 << 20) in batch.exec("full", LIMITS)
    resize("8Mi")
    failing = batch.until("full", lambda pod: (condition_of(pod, "PodResizeInProgress") or {}).get("reason") == "Error")
    words = f'attempting to set container "c" memory limits ({8 << 20}) below current usage ('
    assert condition_of(failing, "PodResizeInProgress")["message"].startswith(words)
    assert status(failing)["resources"]["limits"]["memory"] == "64Mi"
    batch.exec("full", "rm /v/f")
    assert status(settled("8Mi"))["restartCount"] == 0
    assert condition_of(batch.pod("full"), "PodResizeInProgress") is None


def status(pod: Obj) -> Obj:
    return pod["status"]["containerStatuses"][0]


def condition_of(pod: Obj, kind: str) -> Obj | None:
    return next((each for each in pod["status"]["conditions"] if each["type"] == kind), None)


def test_a_container_that_writes_too_much_is_evicted(batch: Batch):
    evicted = batch.ended("written")["status"]
    assert evicted["reason"] == "Evicted"
    assert evicted["message"] == "Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. "


def test_priorities_and_runtime_classes_bring_what_they_stand_for(batch: Batch):
    spec = batch.ended("priority")["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (1000, "PreemptLowerPriority")
    assert batch.ended("critical")["spec"]["priority"] == 2_000_001_000
    assert batch.ended("overhead")["spec"]["overhead"] == {"cpu": "20m", "memory": "8Mi"}
    assert 'no runtime for "nosuch" is configured' in batch.until_event("no-handler", "FailedCreatePodSandBox")
    unknown = pod("unknown", container(), priorityClassName="nosuch")
    assert "no PriorityClass with name nosuch was found" in batch.refused(unknown)
    assert 'RuntimeClass "nosuch" not found' in batch.refused(pod("unknown", container(), runtimeClassName="nosuch"))


def test_what_cannot_be_given_is_not_promised(batch: Batch):
    assert "Insufficient hugepages-2Mi" in batch.until_event("huge", "FailedScheduling")
    over = {"requests": {"cpu": "2", "memory": "1Mi"}, "limits": {"cpu": "1", "memory": "1Mi"}}
    words = 'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'
    assert words in batch.refused(pod("over", container(resources=over)))
    page = {"requests": {"hugepages-2Mi": "3Mi"}, "limits": {"hugepages-2Mi": "3Mi"}}
    assert "hugepages-2Mi" in batch.refused(pod("odd", container(resources=page)))
