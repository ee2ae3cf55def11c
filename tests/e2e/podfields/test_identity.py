"""Names, addresses and namespaces of pods, and how they resolve names."""

from pathlib import Path

from tests.e2e.podfields.conftest import Batch, Obj, condition, container, pod

NAMESPACES = "for n in net pid ipc uts mnt; do readlink /proc/self/ns/$n; done"
NAMES = "hostname; cat /etc/hosts"
RESOLVE = "cat /etc/resolv.conf"
LONG = "p" * 60 + ".and.more"


def named(name: str, **spec: object) -> Obj:
    return pod(name, container(NAMES), **spec)


OBJECTS = [
    named("plain"),
    named(LONG),
    named("named", hostname="chosen", subdomain="sub"),
    named("in-full", hostname="chosen", subdomain="sub", setHostnameAsFQDN=True),
    named("too-full", subdomain="s" * 50, setHostnameAsFQDN=True),
    named("overridden", hostname="chosen", subdomain="sub", hostnameOverride="other.example"),
    named("aliased", hostAliases=[{"ip": "10.9.8.7", "hostnames": ["one.example", "two.example"]}]),
    pod("own-hosts", container("cat /etc/hosts", volumeMounts=[
        {"name": "v", "mountPath": "/etc/hosts", "subPath": "hosts"}]),
        volumes=[{"name": "v", "configMap": {"name": "hosts"}}]),
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hosts"}, "data": {"hosts": "192.0.2.1 mine\n"}},
    pod("dns-cluster", container(RESOLVE)),
    pod("dns-none", container(RESOLVE), dnsPolicy="None", dnsConfig={
        "nameservers": ["192.0.2.5"], "searches": ["a.example", "b.example"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}),
    pod("dns-more", container(RESOLVE), dnsConfig={
        "nameservers": ["192.0.2.6"], "searches": ["more.example"], "options": [{"name": "ndots", "value": "3"}]}),
    pod("dns-default", container(RESOLVE), dnsPolicy="Default"),
    pod("dns-host", container(RESOLVE), hostNetwork=True),
    pod("dns-host-cluster", container(RESOLVE), hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"),
    pod("host-network", container(f"{NAMESPACES}; {NAMES}"), hostNetwork=True),
    pod("host-pid", container(f"{NAMESPACES}; cat /proc/1/comm; true"), hostPID=True),
    pod("host-ipc", container(NAMESPACES), hostIPC=True),
    pod("own-namespaces", container(f"{NAMESPACES}; cat /proc/1/comm; true")),
    pod("shared-pid", container("sleep 300", name="a"),
        container("until ps | grep -q 'sleep 30[0]'; do sleep 0.1; done; echo $$; readlink /proc/self/ns/pid", name="b"),
        shareProcessNamespace=True, restartPolicy="Always"),
    pod("gated", container(), restartPolicy="Always", readinessGates=[{"conditionType": "example.com/fit"}]),
    pod("held", container("true"), schedulingGates=[{"name": "example.com/later"}]),
    pod("host-port", container("httpd -f -p 8080 -h /etc", ports=[
        {"containerPort": 8080, "hostPort": 18080, "hostIP": "127.0.0.1"}]), restartPolicy="Always"),
]  # fmt: skip


def test_the_host_name_is_that_of_the_pod_unless_it_wants_another(batch: Batch):
    domain = f"sub.{batch.namespace}.svc.cluster.local"
    assert batch.lines("plain")[0] == "plain"
    assert batch.lines(LONG)[0] == LONG[:63]
    assert batch.lines("named")[0] == "chosen"
    assert any(line.endswith(f"\tchosen.{domain}\tchosen") for line in batch.lines("named"))
    assert batch.lines("in-full")[0] == f"chosen.{domain}"
    assert batch.lines("overridden")[0] == "other.example"
    assert not any(domain in line for line in batch.lines("overridden"))
    assert "FQDN too-full." in batch.until_event("too-full", "FailedCreatePodSandBox", "(64 characters is the max")


def test_the_hosts_file_has_the_pods_names_and_aliases(batch: Batch):
    plain = batch.lines("plain")
    assert plain[1] == "# Kubernetes-managed hosts file."
    assert any(line.startswith("10.244.0.") and line.endswith("\tplain") for line in plain)
    assert batch.lines("aliased")[-2:] == ["# Entries added by HostAliases.", "10.9.8.7\tone.example\ttwo.example"]
    assert batch.lines("own-hosts") == ["192.0.2.1 mine"]
    assert "# Kubernetes-managed hosts file (host network)." in batch.lines("host-network")


def settings(batch: Batch, name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in batch.lines(name):
        key, _, value = line.partition(" ")
        found.setdefault(key, []).extend(value.split())
    return found


def test_names_are_resolved_as_the_dns_policy_says(batch: Batch):
    cluster = settings(batch, "dns-cluster")
    own = [f"{batch.namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local"]
    assert cluster["nameserver"] == ["10.96.0.10"]
    assert cluster["search"][:3] == own
    assert cluster["options"] == ["ndots:5"]
    assert settings(batch, "dns-none") == {
        "nameserver": ["192.0.2.5"],
        "search": ["a.example", "b.example"],
        "options": ["ndots:2", "edns0"],
    }
    more = settings(batch, "dns-more")
    assert more["nameserver"] == ["10.96.0.10", "192.0.2.6"]
    assert (more["search"][-1], more["options"]) == ("more.example", ["ndots:3"])
    assert "10.96.0.10" not in settings(batch, "dns-default")["nameserver"]
    assert settings(batch, "dns-host") == settings(batch, "dns-default")
    assert settings(batch, "dns-host-cluster") == cluster


def test_namespaces_of_the_node_are_shared_only_where_asked(batch: Batch):
    kinds = ("net", "pid", "ipc", "uts", "mnt")
    ours = [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds]
    shared = {
        name: [kind for kind, own, seen in zip(kinds, ours, batch.lines(name), strict=False) if own == seen]
        for name in ("own-namespaces", "host-network", "host-pid", "host-ipc")
    }
    # On the node's network a pod has the node's host name too.
    assert shared == {
        "own-namespaces": [],
        "host-network": ["net", "uts"],
        "host-pid": ["pid"],
        "host-ipc": ["ipc"],
    }
    assert batch.lines("own-namespaces")[5] == "sh"
    assert batch.lines("host-pid")[5] == Path("/proc/1/comm").read_text().strip()
    status = batch.pod("host-network")["status"]
    assert batch.pod("host-network")["spec"]["hostNetwork"]
    assert status["hostIP"] == batch.cluster.get("node", "fields")["status"]["addresses"][0]["address"]


def test_containers_see_each_other_in_a_shared_process_namespace(batch: Batch):
    batch.until("shared-pid", lambda pod: len(pod["status"].get("containerStatuses") or ()) == 2)
    first = batch.exec("shared-pid", "readlink /proc/self/ns/pid; ps", "a")
    assert "sleep 300" in first
    assert first.splitlines()[0] in batch.kubectl("logs", "shared-pid", "-c", "b")


def test_addresses_are_in_the_status_and_ports_of_the_node_lead_to_the_pod(batch: Batch):
    status = batch.running("host-port")["status"]
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    assert status["hostIPs"] == [{"ip": status["hostIP"]}]


def test_readiness_gates_are_waited_for(batch: Batch):
    def ready(pod: Obj) -> Obj:
        return next(each for each in pod["status"]["conditions"] if each["type"] == "Ready")

    gated = batch.until("gated", lambda pod: condition(pod, "ContainersReady"))
    assert (ready(gated)["status"], ready(gated)["reason"]) == ("False", "ReadinessGatesNotReady")
    patch = '{"status":{"conditions":[{"type":"example.com/fit","status":"True"}]}}'
    batch.kubectl("patch", "pod", "gated", "--subresource=status", "--type=strategic", "-p", patch)
    gated = batch.until("gated", lambda pod: condition(pod, "Ready"))
    generations = {each["type"]: each.get("observedGeneration") for each in gated["status"]["conditions"]}
    assert {generations[kind] for kind in ("Ready", "ContainersReady", "Initialized", "PodScheduled")} == {1}
    assert gated["status"]["observedGeneration"] == gated["metadata"]["generation"] == 1


def test_a_held_pod_is_scheduled_once_its_gates_are_gone(batch: Batch):
    assert "SchedulingGated" in batch.kubectl("get", "pod", "held")
    assert "nodeName" not in batch.pod("held")["spec"]
    batch.kubectl("patch", "pod", "held", "--type=json", "-p", '[{"op":"remove","path":"/spec/schedulingGates"}]')
    assert batch.ended("held")["status"]["phase"] == "Succeeded"
