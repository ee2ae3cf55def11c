"""`resolv.conf` and hosts file of pods."""

from __future__ import annotations

import pytest

from sparsam.agent.dns import (
    Resolver,
    hostname,
    hosts_file,
    kernel_hostname,
    parse_resolv_conf,
    pod_domain,
    pod_resolver,
)
from sparsam.agent.references import ConfigFault
from tests.support.agent import pod

HOST = parse_resolv_conf("# comment\nnameserver 192.0.2.53\nsearch corp.test.\noptions timeout:1 rotate\n")


def resolver(**spec: object) -> Resolver:
    return pod_resolver(pod(**spec), HOST, "10.96.0.10", "cluster.local")


def test_the_hosts_file_of_the_node_is_read():
    assert Resolver(("192.0.2.53",), ("corp.test",), ("timeout:1", "rotate")) == HOST


def test_cluster_first_searches_the_namespace_then_the_cluster_then_the_node():
    own = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.test")
    assert resolver() == Resolver(("10.96.0.10",), own, ("ndots:5",))


def test_policies_choose_the_node_or_nothing():
    assert resolver(dnsPolicy="Default") == HOST
    assert resolver(hostNetwork=True) == HOST
    assert resolver(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet").servers == ("10.96.0.10",)
    config = {
        "nameservers": ["1.1.1.1"],
        "searches": ["x.test"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    assert resolver(dnsPolicy="None", dnsConfig=config) == Resolver(("1.1.1.1",), ("x.test",), ("ndots:2", "edns0"))


def test_dns_config_adds_to_the_policy_and_overrides_its_options():
    merged = resolver(
        dnsConfig={"nameservers": ["10.96.0.10", "1.1.1.1"], "options": [{"name": "ndots", "value": "1"}]}
    )
    assert merged.servers == ("10.96.0.10", "1.1.1.1")
    assert merged.options == ("ndots:1",)


def test_host_names_and_domains():
    assert hostname(pod(name="web"), "n1") == "web"
    assert hostname(pod(hostname="given"), "n1") == "given"
    assert hostname(pod(hostNetwork=True), "n1") == "n1"
    assert hostname(pod(name="a" * 62 + "-b"), "n1") == "a" * 62
    assert pod_domain(pod(subdomain="sub"), "cluster.local") == "sub.default.svc.cluster.local"


def test_the_kernel_gets_the_full_name_where_the_pod_wants_that():
    def kernel(**spec: object) -> str:
        return kernel_hostname(pod(name="web", **spec), "n1", "cluster.local")

    assert kernel(subdomain="sub") == kernel(setHostnameAsFQDN=True) == "web"
    assert kernel(subdomain="sub", setHostnameAsFQDN=True) == "web.sub.default.svc.cluster.local"
    assert kernel(subdomain="sub", hostnameOverride="other.test") == "other.test"
    assert kernel(subdomain="sub", setHostnameAsFQDN=True, hostNetwork=True) == "n1"
    with pytest.raises(ConfigFault, match=r"is too long \(64 characters is the max, 76 characters requested\)"):
        kernel(subdomain="s" * 46, setHostnameAsFQDN=True)


def test_the_hosts_file_names_the_pod_and_its_aliases():
    aliases = [{"ip": "10.1.1.1", "hostnames": ["one", "two"]}]
    text = hosts_file(pod(hostAliases=aliases), ["10.0.0.2"], "web", "sub.default.svc.cluster.local", "")
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.0.0.2\tweb.sub.default.svc.cluster.local\tweb\n" in text
    assert text.endswith("\n# Entries added by HostAliases.\n10.1.1.1\tone\ttwo\n")
    host = hosts_file(pod(hostNetwork=True), ["10.0.0.2"], "n1", "", "127.0.0.1 localhost\n")
    assert host == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
