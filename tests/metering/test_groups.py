from pathlib import Path

import pytest

from sparsam.metering.groups import GroupReader, GroupUse

UID = "64a9c17c-5e19-4fec-b088-4482fc153211"
CONTAINER = "7b1b534c0bf489953a736c6b5df031c3c2f4b0dc507649a1e1c1e876457340c2"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def group_v1(root: Path, path: str, cpu_seconds: float, memory_bytes: int) -> None:
    write(root / "cpuacct" / path / "cpuacct.usage", f"{int(cpu_seconds * 1e9)}\n")
    write(root / "memory" / path / "memory.usage_in_bytes", f"{memory_bytes}\n")


def group_v2(root: Path, path: str, cpu_seconds: float, memory_bytes: int) -> None:
    write(root / "cgroup.controllers", "cpu memory")
    write(root / path / "cpu.stat", f"usage_usec {int(cpu_seconds * 1e6)}\nuser_usec 1\n")
    write(root / path / "memory.current", f"{memory_bytes}\n")


LAYOUTS = {
    "our own": (f"sparsam/n1/burstable/pod{UID}", CONTAINER),
    "kubelet, guaranteed": (f"kubepods/pod{UID}", CONTAINER),
    "kubelet, burstable": (f"kubepods/burstable/pod{UID}", CONTAINER),
    "kubelet under systemd": (
        f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice",
        f"cri-containerd-{CONTAINER}.scope",
    ),
    "CRI-O under systemd": (f"kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice", f"crio-{CONTAINER}.scope"),
}


@pytest.mark.parametrize("write_group", [group_v1, group_v2])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_pods_are_found_by_uid_and_containers_by_id(tmp_path, layout, write_group):
    pod, container = layout
    write_group(tmp_path, pod, 12.5, 4096)
    write_group(tmp_path, f"{pod}/{container}", 12.25, 2048)
    found = GroupReader(("sparsam/n1", "kubepods", "kubepods.slice"), tmp_path).pods()
    assert list(found) == [UID]
    assert found[UID].whole == GroupUse(12.5, 4096)
    assert found[UID].containers == {CONTAINER: GroupUse(12.25, 2048)}


def test_a_static_pods_uid_has_no_dashes(tmp_path):
    uid = "0123456789abcdef0123456789abcdef"
    group_v1(tmp_path, f"kubepods/burstable/pod{uid}", 1.0, 0)
    assert list(GroupReader(("kubepods",), tmp_path).pods()) == [uid]


def test_a_group_without_readable_files_is_left_out(tmp_path):
    (tmp_path / "cpuacct/kubepods" / f"pod{UID}").mkdir(parents=True)
    write(tmp_path / "cpuacct/kubepods/burstable" / f"pod{UID}" / "cpuacct.usage", "not a number")
    assert GroupReader(("kubepods",), tmp_path).pods() == {}


def test_nothing_is_found_where_there_are_no_groups(tmp_path):
    assert GroupReader(("kubepods",), tmp_path).pods() == {}
