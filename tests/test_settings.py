from pathlib import Path

import pytest

from sparsam.settings import Settings, SettingsError, load_settings, read_settings


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path):
    file = tmp_path / "c.toml"
    file.write_text('nodes = 2\nport = 7000\nnode_name = "from-file"\n')
    environ = {"SPARSAM_PORT": "7001", "SPARSAM_NODE_NAME": "from-env", "SPARSAM_DATA": "elsewhere", "HOME": "/root"}
    settings = load_settings({"node_name": "from-flag", "nodes": None}, config=file, environ=environ)
    assert (settings.nodes, settings.port, settings.node_name) == (2, 7001, "from-flag")
    assert settings.service_cidr == "10.96.0.0/16"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"nodes": 0}, "nodes: 0 is not between"),
        ({"port": 70000}, "port: 70000"),
        ({"parts": "api,kitchen"}, "unknown part 'kitchen'"),
        ({"cluster_cidr": "10.0.0.0/33"}, "cluster_cidr"),
        ({"cluster_cidr": "10.244.0.0/28"}, "too small"),
        ({"service_cidr": "10.244.0.0/16"}, "overlaps"),
        ({"listen": "home"}, "listen: 'home'"),
        ({"nodes": 2, "cri_socket": "/run/x.sock"}, "cri_socket"),
        ({"pod_cidr": "10.1.0.0/24"}, "not within cluster_cidr"),
        ({"server": "https://192.0.2.1:6443"}, "one node alone"),
        ({"port": "many"}, "port: 'many' is not a whole number"),
    ],
)
def test_a_bad_setting_is_named(flags, words):
    with pytest.raises(SettingsError, match=words):
        load_settings(flags, config=None, environ={})


def test_an_unknown_key_or_unreadable_file_is_named(tmp_path: Path):
    file = tmp_path / "c.toml"
    file.write_text("colour = 1\n")
    with pytest.raises(SettingsError, match="unknown setting 'colour'"):
        load_settings({}, config=file, environ={})
    with pytest.raises(SettingsError, match="cannot read"):
        load_settings({}, config=tmp_path / "none.toml", environ={})


def test_what_is_written_reads_back(tmp_path: Path):
    settings = Settings(data_dir=str(tmp_path), nodes=3)
    settings.write(tmp_path / "cluster.json")
    assert read_settings(tmp_path / "cluster.json") == settings
    with pytest.raises(SettingsError, match="no cluster in"):
        read_settings(tmp_path / "missing.json")


def test_one_node_lives_in_the_machines_own_network():
    [node] = Settings().node_list("box", {4: "192.0.2.7", 6: "2001:db8::7"})
    assert (node.name, node.ips, node.pod_cidrs, node.netns) == ("box", ("192.0.2.7",), ("10.244.0.0/24",), None)
    [node] = Settings().node_list("box", {})
    assert node.ips == ("10.245.0.1",)


def test_several_nodes_get_names_addresses_and_namespaces_of_their_own():
    nodes = Settings(nodes=3).node_list("box", {4: "192.0.2.7"})
    assert [node.name for node in nodes] == ["box-1", "box-2", "box-3"]
    assert [node.ips for node in nodes] == [("10.245.0.11",), ("10.245.0.12",), ("10.245.0.13",)]
    assert [node.pod_cidrs for node in nodes] == [("10.244.0.0/24",), ("10.244.1.0/24",), ("10.244.2.0/24",)]
    assert len({node.netns for node in nodes}) == 3


DUAL = {"cluster_cidr": "10.244.0.0/16,fd00:10:244::/56", "service_cidr": "10.96.0.0/16, fd00:10:96::/112"}


def test_two_networks_of_pods_and_of_services_make_a_cluster_of_both_families():
    settings = Settings(**DUAL, nodes=2)
    assert settings.versions == (4, 6)
    assert settings.service_cidrs == ("10.96.0.0/16", "fd00:10:96::/112")
    assert settings.machine_ips == ("10.245.0.1", "fd00:10:245::1")
    assert settings.balancer_cidrs == ("10.245.1.0/24", "fd00:10:245:1::/112")
    first, second = settings.node_list("box", {})
    assert first.ips == ("10.245.0.11", "fd00:10:245::b")
    assert second.pod_cidrs == ("10.244.1.0/24", "fd00:10:244:1::/64")
    assert Settings(**DUAL, load_balancer_cidr="").balancer_cidrs == ()
    assert Settings(**DUAL, load_balancer_cidr="fd00:7::/120").balancer_cidrs == ("fd00:7::/120",)


@pytest.mark.parametrize(
    ("pods", "services", "versions", "addresses"),
    [
        ("fd00:10:244::/56", "fd00:10:96::/112", (6,), ("fd00:10:96::a", "fd00:10:245::1")),
        (
            "fd00:10:244::/56,10.244.0.0/16",
            "fd00:10:96::/112,10.96.0.0/16",
            (6, 4),
            ("fd00:10:96::a", "fd00:10:245::1"),
        ),
        ("10.244.0.0/16", "10.96.0.0/16", (4,), ("10.96.0.10", "10.245.0.1")),
    ],
)
def test_any_family_may_be_alone_or_first(pods, services, versions, addresses):
    settings = Settings(cluster_cidr=pods, service_cidr=services)
    assert settings.versions == versions
    assert (settings.dns_ip, settings.machine_ip) == addresses
    [node] = settings.node_list("box", {4: "192.0.2.7", 6: "2001:db8::7"})
    assert node.ips == tuple({4: "192.0.2.7", 6: "2001:db8::7"}[version] for version in versions)
    assert tuple(6 if ":" in each else 4 for each in node.pod_cidrs) == versions
    assert len(settings.balancer_cidrs) == len(versions)


def test_where_ipv6_is_first_the_api_server_listens_there():
    six = {"cluster_cidr": "fd00:10:244::/56", "service_cidr": "fd00:10:96::/112"}
    with pytest.raises(SettingsError, match="use ::"):
        Settings(**six, listen="0.0.0.0")
    assert Settings(**six, listen="::").server_url == "https://127.0.0.1:6443"
    assert Settings(**six, listen="fd00::7").server_url == "https://[fd00::7]:6443"


def test_the_only_node_has_the_machines_address_of_each_family():
    own = {4: "192.0.2.7", 6: "2001:db8::7"}
    assert Settings(**DUAL).node_list("box", own)[0].ips == ("192.0.2.7", "2001:db8::7")
    assert Settings(**DUAL).node_list("box", {4: "192.0.2.7"})[0].ips == ("192.0.2.7", "fd00:10:245::1")
    assert Settings(**DUAL, node_ip="192.0.2.9,fd00::9").node_list("box", own)[0].ips == ("192.0.2.9", "fd00::9")
    assert Settings(**DUAL, node_ip="192.0.2.9").node_list("box", own)[0].ips == ("192.0.2.9", "2001:db8::7")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cluster_cidr": "10.244.0.0/16"}, "not of the same IP families"),
        ({"cluster_cidr": "fd00:10:244::/56,10.244.0.0/16"}, "not of the same IP families"),
        ({"service_cidr": "fd00:10:96::/112"}, "not of the same IP families"),
        ({"service_cidr": ""}, "there is no network"),
        ({"service_cidr": "10.96.0.0/16,10.97.0.0/16"}, "more than one network of a family"),
        ({"cluster_cidr": "10.244.0.0/16,fd00:10:244::/72"}, "use a /64 or wider"),
        ({"machine_cidr": "10.245.0.0/24,fd00:10:96::/64"}, "overlaps"),
        ({"machine_cidr": "fd00:7::/64"}, "no network of IPv4"),
        ({"node_ip": "fd00::9"}, "not an address of each family"),
        ({"pod_cidr": "10.244.0.0/24,fd00:11::/64"}, "not within cluster_cidr"),
        ({"cluster_cidr": "10.244.0.0/16,fd00:10:244::/63", "nodes": 3}, "has room for 2 nodes"),
    ],
)
def test_networks_of_two_families_have_to_fit_together(changes, message):
    with pytest.raises(SettingsError, match=message):
        Settings(**DUAL | changes)


def test_well_known_addresses_follow_the_networks():
    settings = Settings(service_cidr="10.97.0.0/16", machine_cidr="10.9.0.0/24")
    assert (settings.api_service_ip, settings.dns_ip, settings.machine_ip) == ("10.97.0.1", "10.97.0.10", "10.9.0.1")
