"""Volumes on disk: atomic content, host paths, sub-paths."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sparsam.agent.downward import PodFacts
from sparsam.agent.payloads import File, token_wishes, volume_files
from sparsam.agent.references import CLAIM, ConfigFault, Sources
from sparsam.agent.volumes import PodDirectory, check_host_path, persistent_path, write_atomically
from tests.support.agent import container, pod


def visible(root: Path) -> dict[str, bytes]:
    names = [path for path in root.iterdir() if not path.name.startswith("..")]
    files = [path for name in names for path in ([name] if name.is_file() else name.rglob("*"))]
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.is_file()}


def test_content_changes_all_at_once_and_only_when_it_differs(tmp_path: Path):
    assert write_atomically(tmp_path, {"a": File(b"1"), "sub/b": File(b"2", 0o400)})
    first = (tmp_path / "..data").resolve()
    assert visible(tmp_path) == {"a": b"1", "sub/b": b"2"}
    assert stat.S_IMODE((tmp_path / "sub/b").stat().st_mode) == 0o400
    assert not write_atomically(tmp_path, {"a": File(b"1"), "sub/b": File(b"2", 0o400)})
    assert (tmp_path / "..data").resolve() == first
    assert write_atomically(tmp_path, {"a": File(b"3")})
    assert visible(tmp_path) == {"a": b"3"}
    assert not first.exists()


def test_paths_cannot_leave_the_volume(tmp_path: Path):
    with pytest.raises(ConfigFault):
        write_atomically(tmp_path / "..", {"../evil": File(b"")})


def test_host_paths_are_checked_and_made(tmp_path: Path):
    check_host_path(tmp_path / "made", "DirectoryOrCreate")
    check_host_path(tmp_path / "file", "FileOrCreate")
    assert (tmp_path / "made").is_dir()
    with pytest.raises(ConfigFault, match=r"hostPath type check failed: .*/file is not a directory"):
        check_host_path(tmp_path / "file", "Directory")
    with pytest.raises(ConfigFault, match="is not a socket file"):
        check_host_path(tmp_path / "none", "Socket")


def test_sub_paths_stay_inside_and_are_made(tmp_path: Path):
    spec = container(volumeMounts=[{"name": "v", "mountPath": "/v", "subPathExpr": "$(NAME)/x"}])
    wanted = pod(spec, volumes=[{"name": "v", "emptyDir": {}}])
    directory = PodDirectory(tmp_path, "uid")
    directory.set_up(PodFacts(wanted), Sources(), {})
    (mount,) = directory.bind_mounts(wanted, spec, {"NAME": "web"})
    assert Path(mount.host_path).samefile(tmp_path / "uid/volumes/v/web/x")
    assert Path(mount.host_path).is_dir()
    (tmp_path / "uid/volumes/v/out").symlink_to("/etc")
    spec["volumeMounts"][0] = {"name": "v", "mountPath": "/v", "subPath": "out"}
    with pytest.raises(ConfigFault, match="not within volume path"):
        directory.bind_mounts(wanted, spec, {})
    directory.remove()
    assert not (tmp_path / "uid").exists()


def test_missing_sources_name_the_volume(tmp_path: Path):
    wanted = pod(volumes=[{"name": "v", "configMap": {"name": "none"}}])
    with pytest.raises(ConfigFault, match=r'MountVolume\.SetUp failed for volume "v" : configmap "none" not found'):
        PodDirectory(tmp_path, "uid").set_up(PodFacts(wanted), Sources(), {})


def test_items_choose_keys_paths_and_modes():
    sources = Sources({("ConfigMap", "c"): {"data": {"a": "1", "b": "2"}, "binaryData": {"z": "AAE="}}})
    facts = PodFacts(pod())
    every = volume_files({"name": "v", "configMap": {"name": "c", "defaultMode": 0o600}}, facts, sources, {})
    assert every == {"a": File(b"1", 0o600), "b": File(b"2", 0o600), "z": File(b"\x00\x01", 0o600)}
    items = [{"key": "a", "path": "x/y", "mode": 0o444}]
    assert volume_files({"name": "v", "configMap": {"name": "c", "items": items}}, facts, sources, {}) == {
        "x/y": File(b"1", 0o444)
    }
    with pytest.raises(ConfigFault, match="references non-existent configmap key"):
        volume_files(
            {"name": "v", "configMap": {"name": "c", "items": [{"key": "q", "path": "q"}]}}, facts, sources, {}
        )
    assert volume_files({"name": "v", "emptyDir": {}}, facts, sources, {}) is None
    absent = {"name": "v", "secret": {"secretName": "s", "optional": True}}
    assert volume_files(absent, facts, sources, {}) == {}


def test_tokens_can_be_read_by_any_user_unless_a_group_narrows_them():
    source = {"serviceAccountToken": {"path": "token", "audience": "me", "expirationSeconds": 600}}
    volume = {"name": "v", "projected": {"sources": [source]}}
    for context, mode in (({}, 0o644), ({"fsGroup": 2000}, 0o600)):
        wanted = pod(volumes=[volume], securityContext=context)
        tokens = dict.fromkeys(token_wishes(wanted), "secret")
        assert volume_files(volume, PodFacts(wanted), Sources(), tokens) == {"token": File(b"secret", mode)}


def test_claims_lead_to_where_their_volume_is(tmp_path: Path):
    store = tmp_path / "store"
    spec = container(volumeMounts=[{"name": "v", "mountPath": "/v", "subPath": "x"}])
    wanted = pod(spec, volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}}])
    persistent = {"metadata": {"name": "pv"}, "spec": {"hostPath": {"path": str(store), "type": "DirectoryOrCreate"}}}
    directory = PodDirectory(tmp_path / "pods", "uid")
    with pytest.raises(ConfigFault, match='persistentvolumeclaim "c" not found'):
        directory.set_up(PodFacts(wanted), Sources(), {})
    directory.set_up(PodFacts(wanted), Sources({(CLAIM, "c"): persistent}), {})
    (mount,) = directory.bind_mounts(wanted, spec, {})
    assert mount.read_only
    assert Path(mount.host_path).samefile(store / "x")
    directory.remove()
    assert (store / "x").is_dir()


def test_volumes_that_are_not_on_the_node_are_refused(tmp_path: Path):
    with pytest.raises(ConfigFault, match="does not exist"):
        persistent_path({"metadata": {"name": "pv"}, "spec": {"local": {"path": str(tmp_path / "none")}}})
    with pytest.raises(ConfigFault, match="neither hostPath nor local"):
        persistent_path({"metadata": {"name": "pv"}, "spec": {"nfs": {"server": "s", "path": "/"}}})
