"""Readings of the kernel's books."""

from __future__ import annotations

from pathlib import Path

from sparsam.agent.server.groups import Interface, first_process, node_usage, parse_interfaces, read_group, read_meminfo

MEMINFO = """MemTotal:       1000 kB
MemFree:         400 kB
MemAvailable:    700 kB
Inactive(file):  100 kB
AnonPages:       250 kB
HugePages_Total:   0
"""
STAT = "cpu  100 10 50 9000 500 5 5 30 7 7\ncpu0 1 1 1 1 1 1 1 1 1 1\n"


def test_a_node_is_busy_while_it_neither_idles_nor_waits():
    usage = node_usage(STAT, read_meminfo(MEMINFO), 42)
    assert usage.cpu_nanoseconds == 200 * 10_000_000
    assert usage.memory_usage_bytes == 600 * 1024
    assert usage.memory_working_set_bytes == 500 * 1024
    assert usage.memory_rss_bytes == 250 * 1024
    assert usage.time_nanoseconds == 42


def test_a_group_of_version_one_is_read(tmp_path: Path):
    cpu, memory = tmp_path / "cpuacct" / "pod", tmp_path / "memory" / "pod"
    cpu.mkdir(parents=True)
    memory.mkdir(parents=True)
    (cpu / "cpuacct.usage").write_text("123456789\n")
    (memory / "memory.usage_in_bytes").write_text("5000\n")
    (memory / "memory.stat").write_text("rss 1\ntotal_rss 3000\ntotal_inactive_file 1000\n")
    usage = read_group("/pod", unified=False, root=tmp_path)
    assert usage is not None
    assert usage.cpu_nanoseconds == 123456789
    assert (usage.memory_usage_bytes, usage.memory_working_set_bytes, usage.memory_rss_bytes) == (5000, 4000, 3000)


def test_a_group_of_version_two_is_read(tmp_path: Path):
    group = tmp_path / "pod"
    group.mkdir()
    (group / "cpu.stat").write_text("usage_usec 1500\nuser_usec 1000\n")
    (group / "memory.current").write_text("5000\n")
    (group / "memory.stat").write_text("anon 3000\ninactive_file 6000\n")
    usage = read_group("/pod", unified=True, root=tmp_path)
    assert usage is not None
    assert usage.cpu_nanoseconds == 1_500_000
    assert (usage.memory_usage_bytes, usage.memory_working_set_bytes, usage.memory_rss_bytes) == (5000, 0, 3000)


def test_a_group_that_is_gone_has_no_use(tmp_path: Path):
    assert read_group("/pod", unified=True, root=tmp_path) is None
    assert read_group("/pod", unified=False, root=tmp_path) is None


def test_details_of_version_one_are_read_where_the_kernel_has_them(tmp_path: Path):
    for controller in ("cpuacct", "cpu", "memory", "pids"):
        (tmp_path / controller / "pod").mkdir(parents=True)
    (tmp_path / "cpuacct" / "pod" / "cpuacct.usage").write_text("5\n")
    (tmp_path / "cpuacct" / "pod" / "cpuacct.stat").write_text("user 3\nsystem 4\n")
    (tmp_path / "cpu" / "pod" / "cpu.stat").write_text("nr_periods 10\nnr_throttled 2\nthrottled_time 77\n")
    (tmp_path / "memory" / "pod" / "memory.usage_in_bytes").write_text("5000\n")
    (tmp_path / "memory" / "pod" / "memory.max_usage_in_bytes").write_text("6000\n")
    (tmp_path / "memory" / "pod" / "memory.stat").write_text("total_cache 9\ntotal_pgfault 8\ntotal_pgmajfault 7\n")
    (tmp_path / "memory" / "pod" / "cgroup.procs").write_text("4711\n4712\n")
    (tmp_path / "pids" / "pod" / "pids.current").write_text("6\n")
    usage = read_group("/pod", unified=False, root=tmp_path)
    assert usage is not None
    assert (usage.cpu_user_nanoseconds, usage.cpu_system_nanoseconds) == (30_000_000, 40_000_000)
    assert (usage.periods, usage.throttled_periods, usage.throttled_nanoseconds) == (10, 2, 77)
    assert (usage.memory_cache_bytes, usage.memory_peak_bytes, usage.page_faults) == (9, 6000, 8)
    assert (usage.major_page_faults, usage.processes) == (7, 6)
    assert first_process("/pod", unified=False, root=tmp_path) == 4711
    assert first_process("/none", unified=False, root=tmp_path) is None


def test_interfaces_but_loopback_are_read():
    text = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls\n"
        "    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0\n"
        "  eth0:  123456      12    1    2    0     0          0         0     6543      21    3    4    0     0\n"
    )
    assert parse_interfaces(text) == (Interface("eth0", 123456, 12, 1, 2, 6543, 21, 3, 4),)
