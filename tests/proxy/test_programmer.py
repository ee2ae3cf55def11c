import asyncio
import contextlib

from sparsam.proxy.nftables import NftablesError
from sparsam.proxy.programmer import Programmer, Side
from sparsam.proxy.view import View
from sparsam.proxy.zone import Zone
from tests.support.proxy import NETWORK, endpoint, endpoint_slice, service


class Kernel:
    """Takes transactions down and refuses them on demand."""

    def __init__(self):
        self.seen = []
        self.refuse = 0
        self.table = False

    def run(self, commands):
        if commands.startswith("list"):
            return "table ip sparsam" if self.table else ""
        self.seen.append(commands)
        if self.refuse:
            self.refuse -= 1
            raise NftablesError("no")
        self.table = True
        return ""

    @property
    def wholes(self):
        return sum(each.startswith("add table") for each in self.seen)


class QuickClock:
    """Sleeps are turns of the loop; counts them."""

    def __init__(self):
        self.slept = asyncio.Queue()

    async def sleep(self, seconds):
        self.slept.put_nowait(seconds)
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def running(kernel, view, *, check_seconds=60.0, followers=()):
    zone = Zone("cluster.local", "10.96.0.10")
    programmer = Programmer(view=view, zone=zone, sides=(Side(NETWORK, followers),), nftables=kernel, table="sparsam")
    clock = QuickClock()
    task = asyncio.create_task(programmer.run(clock, batch_seconds=0.05, check_seconds=check_seconds))
    try:
        while not kernel.wholes:
            await asyncio.sleep(0.001)
        yield programmer, clock
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_table_is_replaced_once_and_then_changed_in_steps():
    kernel, view = Kernel(), View()
    view.put_service(service())
    async with running(kernel, view) as (programmer, clock):
        view.put_slice(endpoint_slice("10.244.1.1"))
        view.put_service(service("db", ip="10.96.0.6"))
        programmer.notice()
        await clock.slept.get()
        view.put_slice(endpoint_slice("10.244.1.2"))
        programmer.notice()
        await clock.slept.get()
    assert kernel.wholes == 1
    assert "10.244.1.2" in kernel.seen[-1]
    assert "db" not in kernel.seen[-1]
    assert programmer.zone.complete


async def test_a_refused_update_is_followed_by_the_whole_table():
    kernel, view = Kernel(), View()
    async with running(kernel, view) as (programmer, clock):
        view.put_service(service("one", ip="10.96.0.6"))
        programmer.notice()
        await clock.slept.get()
        kernel.refuse = 1
        view.put_service(service())
        programmer.notice()
        await clock.slept.get()
    assert kernel.wholes == 2
    assert "10.96.0.5" in kernel.seen[-1]
    assert "10.96.0.6" in kernel.seen[-1]


async def test_a_table_flushed_by_somebody_else_comes_back():
    kernel, view = Kernel(), View()
    async with running(kernel, view, check_seconds=0.01) as (_, clock):
        await clock.slept.get()
        kernel.table = False
        await clock.slept.get()
        await clock.slept.get()
    assert kernel.wholes == 2


async def test_rules_of_an_earlier_run_stay_until_everything_is_known():
    kernel, view = Kernel(), View()
    zone = Zone("cluster.local", "10.96.0.10")
    programmer = Programmer(view=view, zone=zone, sides=(Side(NETWORK),), nftables=kernel, table="sparsam")
    await programmer.prepare()
    assert kernel.wholes == 1
    await programmer.prepare()
    assert kernel.wholes == 1


async def test_one_broken_service_does_not_stop_the_others(caplog):
    kernel, view = Kernel(), View()
    broken = service("broken", ip="10.96.0.7", ports=[{"protocol": "TCP"}])
    view.put_service(broken)
    view.put_service(service())
    zone = Zone("cluster.local", "10.96.0.10")
    programmer = Programmer(view=view, zone=zone, sides=(Side(NETWORK),), nftables=kernel, table="sparsam")
    assert await programmer.replace_all()
    assert "10.96.0.5" in kernel.seen[-1]
    assert "service skipped service=default/broken" in caplog.text


async def test_what_is_not_supported_is_said_once(caplog):
    view = View()
    zone = Zone("cluster.local", "10.96.0.10")
    programmer = Programmer(view=view, zone=zone, sides=(Side(NETWORK),), nftables=Kernel(), table="sparsam")
    for _ in range(2):
        view.put_service(service(externalIPs=["192.0.2.1", "fd00::5"]))
        await programmer.apply_changes()
    assert caplog.text.count("no address of the family of fd00::5") == 1


class Noted:
    """A follower that fails once."""

    def __init__(self):
        self.fragments, self.settled = {}, []

    def put(self, key, fragment):
        self.fragments[key] = fragment

    async def settle(self, *, healthy):
        self.settled.append(healthy)
        return len(self.settled) > 1


async def test_followers_hear_of_every_service_and_whether_the_kernel_has_the_rules(monkeypatch):
    monkeypatch.setattr("sparsam.proxy.programmer._RETRY_SECONDS", 0.01)
    kernel, view, noted = Kernel(), View(), Noted()
    view.put_service(service())
    async with running(kernel, view, followers=(noted,)) as (programmer, clock):
        # What failed is tried again soon, not at the next look at the table.
        await clock.slept.get()
        assert noted.settled[:2] == [True, True]
        kernel.refuse = 100
        view.put_service(service("db", ip="10.96.0.6"))
        programmer.notice()
        await clock.slept.get()
        while noted.settled[-1]:
            await clock.slept.get()
    assert set(noted.fragments) == {("default", "web"), ("default", "db")}


async def test_a_node_that_moves_to_another_zone_prefers_that_ones_endpoints():
    kernel, view = Kernel(), View()
    near, far = (endpoint(f"10.244.1.{n}", hints={"forZones": [{"name": f"z{n}"}]}) for n in (1, 2))
    view.put_service(service())
    view.put_slice(endpoint_slice(near, far))
    async with running(kernel, view) as (programmer, clock):
        assert all(ip in kernel.seen[-1] for ip in ("10.244.1.1", "10.244.1.2"))
        programmer.move("z2")
        await clock.slept.get()
        assert "10.244.1.2" in kernel.seen[-1]
        assert "10.244.1.1" not in kernel.seen[-1]
