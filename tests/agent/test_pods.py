"""Pods on a real containerd, with a fake of the API."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from pathlib import Path

import msgspec
import pytest

from sparsam.agent import lifecycle
from sparsam.agent.cgroups import CGROUP_ROOT
from sparsam.agent.logfiles import rotated_files
from sparsam.agent.logs import rotate_large
from sparsam.agent.pulling import PullLimits
from tests.support.agent import (
    BUSYBOX,
    Engine,
    FakeApi,
    Node,
    Obj,
    container,
    machine_traces,
    phase,
    pod,
    ready,
    waiting,
)
from tests.support.faultyregistry import Registry

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.needs_root, pytest.mark.needs_containerd]


async def test_a_pod_runs_gets_an_address_and_leaves_nothing_behind(engine: Engine, node: Node):
    before = machine_traces(engine)
    secret = {"data": {"password": "aGlkZGVu"}}
    node.api.objects["Secret", "login"] = secret
    volumes = [
        {"name": "login", "secret": {"secretName": "login"}},
        {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]
    mounts = [{"name": "login", "mountPath": "/login"}, {"name": "scratch", "mountPath": "/scratch"}]
    web = node.run(pod(container(volumeMounts=mounts), volumes=volumes))
    running = await node.api.until(web, ready)
    assert running["status"]["phase"] == "Running"
    assert running["status"]["podIP"].startswith(engine.config.pod_cidrs[0].rpartition(".")[0])
    assert node.api.reasons() == ["Pulled", "Created", "Started"]
    assert machine_traces(engine) != before
    node.delete(web)
    await node.api.until_gone(web)
    assert machine_traces(engine) == before
    assert await node.cri.list_sandboxes() == []
    assert not list(engine.config.pods_dir.iterdir())
    assert not list(engine.config.logs_dir.iterdir())


async def test_a_pod_is_found_beside_a_namesake_that_is_still_ending(node: Node):
    stubborn = container(command="trap '' TERM; while :; do sleep 0.2; done")
    old, new = pod(stubborn, name="same", terminationGracePeriodSeconds=4), pod(name="same")
    node.run(old)
    await node.api.until(old, ready)
    # As after a forced deletion: the name is free while the container is still being stopped.
    await node.api.delete(old)
    node.pods.remove(old)
    node.run(new)
    await node.api.until(new, ready)
    assert node.pods.has(old["metadata"]["uid"])
    found = node.pods.find("default", "same")
    assert found is not None
    assert found.uid == new["metadata"]["uid"]


async def test_environment_volumes_and_files_reach_the_container(node: Node):
    node.api.objects["ConfigMap", "settings"] = {"data": {"colour": "green", "file.txt": "content"}}
    node.api.objects["Secret", "login"] = {"data": {"password": "aGlkZGVu"}}
    spec = container(
        command="env > /out/env; cat /etc/resolv.conf /etc/hosts > /out/net; hostname > /out/name; "
        "cat /settings/file.txt /one /login/password /pod/name /token/jwt > /out/files; id > /out/id; echo bye > /dev/termination-log",
        env=[
            {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
            {"name": "MY_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "TEXT", "value": "$(COLOUR)-$(NONE)-$$(COLOUR)"},
        ],
        volumeMounts=[
            {"name": "out", "mountPath": "/out"},
            {"name": "settings", "mountPath": "/settings"},
            {"name": "settings", "mountPath": "/one", "subPath": "colour"},
            {"name": "login", "mountPath": "/login"},
            {"name": "about", "mountPath": "/pod"},
            {"name": "token", "mountPath": "/token"},
        ],
        securityContext={"runAsUser": 1000, "runAsGroup": 3000},
    )
    volumes = [
        {"name": "out", "emptyDir": {}},
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "login", "secret": {"secretName": "login", "defaultMode": 0o440}},
        {"name": "about", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "jwt", "audience": "me"}}]}},
    ]
    context = {"fsGroup": 2000, "supplementalGroups": [4000]}
    job = node.run(pod(spec, volumes=volumes, restartPolicy="Never", securityContext=context))
    done = await node.api.until(job, phase("Succeeded"))
    out = node.config.pods_dir / job["metadata"]["uid"] / "volumes" / "out"
    environment = dict(line.split("=", 1) for line in (out / "env").read_text().splitlines())
    assert environment["COLOUR"] == "green"
    assert environment["PASSWORD"] == "hidden"
    assert environment["MY_IP"] == done["status"]["podIP"]
    assert environment["CPUS"] == "2"
    assert environment["TEXT"] == "green-$(NONE)-$(COLOUR)"
    net = (out / "net").read_text()
    assert "search default.svc.cluster.local svc.cluster.local cluster.local example.test" in net
    assert "nameserver 10.96.0.10" in net
    assert "options ndots:5" in net
    assert f"{done['status']['podIP']}\t{job['metadata']['name']}" in net
    assert (out / "name").read_text().strip() == job["metadata"]["name"]
    assert (out / "files").read_text() == "content" + "green" + "hidden" + job["metadata"]["name"] + "token-for-me"
    assert (out / "id").read_text().strip() == "uid=1000 gid=3000 groups=2000,3000,4000"
    ended = done["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["reason"] == "Completed"
    assert ended["message"] == "bye\n"


async def test_a_changed_config_map_reaches_a_running_pod(node: Node):
    node.api.objects["ConfigMap", "settings"] = {"data": {"colour": "green", "old": "x"}}
    spec = container(volumeMounts=[{"name": "settings", "mountPath": "/settings"}])
    running = node.run(pod(spec, volumes=[{"name": "settings", "configMap": {"name": "settings"}}]))
    await node.api.until(running, ready)
    node.api.objects["ConfigMap", "settings"] = {"data": {"colour": "blue"}}
    node.pods.refresh()
    run = node.pods.find("default", running["metadata"]["name"]).view.run("main")
    async with asyncio.timeout(10):
        while True:
            shown = await node.cri.exec(run.id, ["sh", "-c", "cat /settings/colour; ls /settings"], 5)
            if shown.output == b"bluecolour\n":
                break
            await asyncio.sleep(0.05)


async def test_a_crashing_container_restarts_at_once_then_backs_off(node: Node):
    crashing = node.run(pod(container(command="exit 3")))
    state = await node.api.until(crashing, waiting("CrashLoopBackOff"))
    status = state["status"]["containerStatuses"][0]
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["lastState"]["terminated"]["reason"] == "Error"
    assert status["state"]["waiting"]["message"].startswith("back-off 10s restarting failed container=main pod=")
    assert state["status"]["phase"] == "Running"
    assert "BackOff" in node.api.reasons()


async def test_a_killed_container_is_noticed_and_restarted_within_a_second(node: Node):
    running = node.run(pod(container()))
    await node.api.until(running, ready)
    run = node.pods.find("default", running["metadata"]["name"]).view.run("main")
    began = time.monotonic()
    await node.cri.stop_container(run.id, 0)
    again = await node.api.until(running, lambda s: s["containerStatuses"][0]["restartCount"] == 1 and ready(s))
    assert again["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137
    assert time.monotonic() - began < 5


async def test_init_containers_run_in_order_before_a_sidecar_and_the_main_one(node: Node):
    shared = [{"name": "shared", "mountPath": "/shared"}]
    task = node.run(
        pod(
            container(
                command="echo main >> /shared/order; cat /shared/order > /dev/termination-log", volumeMounts=shared
            ),
            initContainers=[
                container("first", "sleep 0.1; echo first >> /shared/order", volumeMounts=shared),
                container(
                    "side", "echo side >> /shared/order; sleep 3600", restartPolicy="Always", volumeMounts=shared
                ),
                container("second", "sleep 0.3; echo second >> /shared/order", volumeMounts=shared),
            ],
            volumes=[{"name": "shared", "emptyDir": {}}],
            restartPolicy="Never",
        )
    )
    done = await node.api.until(task, phase("Succeeded"))
    message = done["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
    assert message == "first\nside\nsecond\nmain\n"
    pending = [p["status"] for p in node.api.history if p["status"]["phase"] == "Pending"]
    reasons = {s["containerStatuses"][0]["state"].get("waiting", {}).get("reason") for s in pending}
    assert reasons == {"PodInitializing"}


async def test_a_failed_init_container_fails_the_pod_that_must_not_restart(node: Node):
    task = node.run(pod(container(), initContainers=[container("first", "exit 1")], restartPolicy="Never"))
    done = await node.api.until(task, phase("Failed"))
    initialized = next(c for c in done["status"]["conditions"] if c["type"] == "Initialized")
    assert initialized["status"] == "False"
    assert initialized["message"] == "containers with incomplete status: [first]"


async def test_probes_hold_back_readiness_and_restart_the_unhealthy(node: Node):
    spec = container(
        command="httpd -p 8080 -h /tmp; touch /tmp/ready; sleep 3600",
        ports=[{"name": "web", "containerPort": 8080}],
        startupProbe={"tcpSocket": {"port": "web"}, "periodSeconds": 1},
        readinessProbe={"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1},
        livenessProbe={"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1},
    )
    web = node.run(pod(spec))
    await node.api.until(web, ready)
    run = node.pods.find("default", web["metadata"]["name"]).view.run("main")
    await node.cri.exec(run.id, ["rm", "/tmp/ready"], 5)
    await node.api.until(web, lambda s: s["containerStatuses"][0]["restartCount"] == 1)
    messages = [message for _, _, message in node.api.events]
    assert "Container main failed liveness probe, will be restarted" in messages
    assert any(reason == "Unhealthy" for reason in node.api.reasons())


async def test_hooks_run_and_a_failing_post_start_ends_the_container(node: Node):
    spec = container(
        command="trap 'exit 0' TERM; sleep 3600 & wait",
        lifecycle={
            "postStart": {"exec": {"command": ["touch", "/out/started"]}},
            "preStop": {"exec": {"command": ["touch", "/out/stopping"]}},
        },
        volumeMounts=[{"name": "out", "mountPath": "/out"}],
    )
    with tempfile.TemporaryDirectory() as directory:
        hooked = node.run(pod(spec, volumes=[{"name": "out", "hostPath": {"path": directory, "type": "Directory"}}]))
        await node.api.until(hooked, ready)
        assert (Path(directory) / "started").exists()
        node.delete(hooked)
        await node.api.until_gone(hooked)
        assert (Path(directory) / "stopping").exists()
    failing = node.run(pod(container(lifecycle={"postStart": {"exec": {"command": ["false"]}}})))
    await node.api.until(failing, waiting("CrashLoopBackOff"))
    assert "FailedPostStartHook" in node.api.reasons()


async def test_a_container_is_stopped_by_the_signal_of_its_choice(node: Node):
    spec = container(
        command="trap 'echo asked politely > /dev/termination-log; exit 7' USR1; sleep 3600 & wait",
        lifecycle={"stopSignal": "SIGUSR1"},
    )
    polite = node.run(pod(spec, terminationGracePeriodSeconds=20))
    await node.api.until(polite, ready)
    await asyncio.sleep(0.3)
    node.delete(polite, grace=20)
    await node.api.until_gone(polite, 10)
    (status,) = node.api.history[-1]["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 7
    assert status["state"]["terminated"]["message"] == "asked politely\n"
    assert status["stopSignal"] == "SIGUSR1"


async def test_an_ephemeral_container_sees_the_processes_of_its_target(node: Node):
    server = node.run(pod(container(command="sleep 4711")))
    await node.api.until(server, ready)
    looking = {**container("debug", "ps"), "targetContainerName": "main"}
    ghost = {**container("lost", "ps"), "targetContainerName": "nobody"}
    refused = {**container("odd"), "securityContext": {"procMount": "Unmasked"}}
    current = node.api.pods[server["metadata"]["uid"]]
    spec = {**current["spec"], "ephemeralContainers": [looking, ghost, refused]}
    node.run({**current, "spec": spec, "metadata": {**current["metadata"], "generation": 2}})

    def states(status: dict) -> dict:
        return {each["name"]: each["state"] for each in status.get("ephemeralContainerStatuses", ())}

    seen = await node.api.until(
        server,
        lambda s: "terminated" in states(s).get("debug", {}) and len(states(s)) == 3 and "waiting" in states(s)["odd"]
        and states(s)["odd"]["waiting"]["reason"] == "Unsupported",
    )  # fmt: skip
    assert ready(seen["status"])
    assert states(seen["status"])["debug"]["terminated"]["exitCode"] == 0
    run = node.pods.find("default", server["metadata"]["name"]).view.run("debug")
    assert "sleep 4711" in Path(run.log_path).read_text()
    assert states(seen["status"])["lost"]["waiting"]["reason"] in ("ContainerCreating", "CreateContainerConfigError")
    assert 'Error: unable to find target container "nobody"' in [message for _, _, message in node.api.events]


def kernel_limit(node: Node, uid: str, container_id: str, v1: tuple[str, str], v2: str) -> int:
    """A limit of a container as the kernel has it."""
    group = node.context.cgroups.pod_path("Burstable", uid).lstrip("/")
    path = CGROUP_ROOT / group / container_id / v2
    if not path.exists():
        path = CGROUP_ROOT / v1[0] / group / container_id / v1[1]
    return int(path.read_text().split()[0])


async def test_a_container_is_resized_in_place(node: Node):
    spec = container(resources={"requests": {"cpu": "100m"}, "limits": {"cpu": "200m", "memory": "64Mi"}})
    growing = node.run(pod(spec))
    before = await node.api.until(growing, ready)
    (entry,) = before["status"]["containerStatuses"]
    assert entry["resources"]["limits"] == {"cpu": "200m", "memory": "64Mi"}
    larger = {"requests": {"cpu": "150m"}, "limits": {"cpu": "400m", "memory": "128Mi"}}
    metadata = {**before["metadata"], "generation": 2}
    changed = {**before["spec"], "containers": [{**spec, "resources": larger}]}
    node.run({**before, "metadata": metadata, "spec": changed})
    done = await node.api.until(growing, lambda s: s["containerStatuses"][0]["resources"]["limits"] == larger["limits"])
    run = node.pods.find("default", growing["metadata"]["name"]).view.run("main")
    uid = growing["metadata"]["uid"]
    assert done["status"]["containerStatuses"][0]["restartCount"] == 0
    assert kernel_limit(node, uid, run.id, ("cpu", "cpu.cfs_quota_us"), "cpu.max") == 40_000
    assert kernel_limit(node, uid, run.id, ("memory", "memory.limit_in_bytes"), "memory.max") == 128 << 20
    assert not any(c["type"].startswith("PodResize") for c in done["status"]["conditions"])


async def test_a_runtime_class_picks_a_handler_of_the_engine(node: Node):
    node.api.objects["RuntimeClass", "plain"] = {"handler": "runc"}
    node.api.objects["RuntimeClass", "vm"] = {"handler": "kata"}
    plain = node.run(pod(runtimeClassName="plain"))
    await node.api.until(plain, ready)
    for name, message in (("vm", 'no runtime for "kata" is configured'), ("lost", '"lost" not found')):
        node.run(pod(runtimeClassName=name))
        async with asyncio.timeout(20):
            while not any(message in text for _, _, text in node.api.events):
                await asyncio.sleep(0.05)
    assert "FailedCreatePodSandBox" in node.api.reasons()


async def test_an_image_can_be_a_volume(engine: Engine, node: Node):
    mounts = [{"name": "tools", "mountPath": "/tools"}]
    reading = container(command="ls /tools/bin/sh && ! touch /tools/x && sleep 3600", volumeMounts=mounts)
    volume = {"name": "tools", "image": {"reference": BUSYBOX, "pullPolicy": "IfNotPresent"}}
    before = machine_traces(engine)
    made = node.run(pod(reading, volumes=[volume]))
    await node.api.until(made, ready)
    await asyncio.sleep(0.5)
    assert ready(node.api.pods[made["metadata"]["uid"]]["status"])
    node.delete(made)
    await node.api.until_gone(made)
    assert machine_traces(engine) == before


async def test_images_that_cannot_be_had_are_named(node: Node):
    for image, policy, reason in (
        ("localhost/none:1", "Never", "ErrImageNeverPull"),
        ("NOT VALID", "IfNotPresent", "InvalidImageName"),
        ("127.0.0.1:1/none:1", "IfNotPresent", "ErrImagePull"),
    ):
        wanting = node.run(pod({**container(), "image": image, "imagePullPolicy": policy}))
        await node.api.until(wanting, waiting(reason))
    await node.api.until(wanting, waiting("ImagePullBackOff"))


async def test_missing_sources_are_named_and_tried_again(node: Node):
    reference = {"name": "LATE", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "value"}}}
    late = node.run(pod(container(env=[reference])))
    state = await node.api.until(late, waiting("CreateContainerConfigError"))
    assert state["status"]["containerStatuses"][0]["state"]["waiting"]["message"] == 'configmap "late" not found'
    node.api.objects["ConfigMap", "late"] = {"data": {"value": "here"}}
    await node.api.until(late, ready)


async def test_unsupported_features_are_refused_by_name(node: Node):
    share = {"name": "data", "nfs": {"server": "files", "path": "/"}}
    refused = node.run(pod(container(), volumes=[share]))
    state = await node.api.until(refused, waiting("Unsupported"))
    assert "volume data: nfs" in state["status"]["message"]
    assert ("Warning", "Unsupported", state["status"]["message"]) in node.api.events


async def test_a_pod_without_room_is_turned_away_and_takes_none(node: Node):
    node.object = {"metadata": {"name": "n"}, "spec": {}, "status": {"allocatable": {"cpu": "1", "memory": "1Gi"}}}

    def asking(cpu: str) -> Obj:
        return node.run(pod(container(resources={"requests": {"cpu": cpu}})))

    first, refused, second = asking("600m"), asking("600m"), asking("400m")
    status = (await node.api.until(refused, phase("Failed")))["status"]
    assert (status["reason"], status["message"].split(":")[0]) == ("OutOfcpu", "Pod was rejected")
    for each in (first, second):
        await node.api.until(each, phase("Running"))
    assert not await node.cri.list_sandboxes(refused["metadata"]["uid"])
    node.delete(refused)
    await node.api.until_gone(refused)


async def test_memory_limits_kill_and_say_so(node: Node):
    hungry = container(command="head -c 200m /dev/zero | tail", resources={"limits": {"memory": "16Mi", "cpu": "500m"}})
    task = node.run(pod(hungry, restartPolicy="Never"))
    done = await node.api.until(task, phase("Failed"))
    assert done["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] == "OOMKilled"
    assert done["status"]["qosClass"] == "Guaranteed"


async def test_running_containers_survive_the_agent_and_are_adopted(engine: Engine):
    api = FakeApi()
    async with engine.agent(api) as node:
        kept, orphan = node.run(pod(container())), node.run(pod(container()))
        first = await api.until(kept, ready)
        await api.until(orphan, ready)
    del api.pods[orphan["metadata"]["uid"]]
    async with engine.agent(api) as node:
        node.pods.upsert(api.pods[kept["metadata"]["uid"]])
        await node.pods.adopt_orphans([kept["metadata"]["uid"]])
        async with asyncio.timeout(20):
            while node.pods.count > 1:
                await asyncio.sleep(0.05)
        assert {sandbox.uid for sandbox in await node.cri.list_sandboxes()} == {kept["metadata"]["uid"]}
        current = api.pods[kept["metadata"]["uid"]]["status"]
        assert current["containerStatuses"] == first["status"]["containerStatuses"]
        node.delete(api.pods[kept["metadata"]["uid"]])
        await api.until_gone(kept)


async def test_a_lost_sandbox_is_made_anew(node: Node):
    running = node.run(pod(container()))
    first = await node.api.until(running, ready)
    worker = node.pods.find("default", running["metadata"]["name"])
    info = msgspec.json.decode((await node.cri.sandbox_info(worker.view.sandbox.id))["info"])
    os.kill(info["pid"], signal.SIGKILL)
    again = await node.api.until(running, lambda s: ready(s) and s["containerStatuses"][0]["restartCount"] == 1)
    assert again["status"]["podIP"] != first["status"]["podIP"]
    assert "SandboxChanged" in node.api.reasons()


async def test_a_pod_that_breaks_its_worker_leaves_the_others_alone_and_can_be_deleted(node: Node):
    broken = node.run(pod(container(resources={"limits": {"cpu": "not a quantity"}})))
    fine = node.run(pod(container()))
    await node.api.until(fine, ready)
    node.delete(broken)
    await node.api.until_gone(broken)


async def test_a_pod_on_the_host_network_has_the_nodes_address(node: Node):
    running = node.run(pod(container(command="cat /etc/hosts > /dev/termination-log; sleep 3600"), hostNetwork=True))
    state = await node.api.until(running, ready)
    assert state["status"]["podIP"] == node.config.node_ip


async def test_of_a_container_that_crashes_two_runs_with_their_logs_are_kept(engine: Engine, node: Node, monkeypatch):
    monkeypatch.setattr(lifecycle, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(lifecycle, "LAST_BACKOFF_SECONDS", 0.01)
    crashing = node.run(pod(container(command="echo run; exit 1")))
    await node.api.until(
        crashing, lambda status: (status.get("containerStatuses") or [{}])[0].get("restartCount", 0) > 3
    )
    logs = node.config.logs_dir / f"default_{crashing['metadata']['name']}_{crashing['metadata']['uid']}" / "main"
    async with asyncio.timeout(20):
        while len(names := sorted(path.name for path in logs.iterdir())) > 3:
            await asyncio.sleep(0.05)
    assert "0.log" not in names
    assert len(await node.cri.list_containers(crashing["metadata"]["uid"])) <= 3


async def test_a_log_that_grows_is_rotated_while_the_container_goes_on(node: Node):
    talking = node.run(pod(container(command="i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done")))
    await node.api.until(talking, ready)
    (run,) = node.pods.running_containers()
    async with asyncio.timeout(30):
        while len(rotated_files(Path(run.log_path))) < 2:
            await rotate_large([run], node.cri, max_bytes=200, max_files=2)
            await asyncio.sleep(1.1)
            if rotated_files(Path(run.log_path)):
                break
        while not Path(run.log_path).exists() or "line" not in Path(run.log_path).read_text():
            await asyncio.sleep(0.05)
    assert len(rotated_files(Path(run.log_path))) == 1


async def test_a_pull_that_takes_too_long_is_given_up_and_harms_nobody(engine: Engine, node: Node):
    with Registry() as registry:
        patient = PullLimits(seconds=2.0)
        node.pods._puller.limits = patient
        hanging = node.run(pod({**container(), "image": registry.add("hangs/app")}))
        await node.api.until(hanging, waiting("ErrImagePull"))
        other = node.run(pod({**container(), "image": registry.add("good/app")}))
        await node.api.until(other, ready)
