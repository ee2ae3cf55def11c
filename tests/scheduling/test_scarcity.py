import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.scarcity import FAVOUR, Scarcity
from sparsam.scheduling.snapshot import Snapshot
from sparsam.scheduling.watts import SparsamPolicy
from tests.support.scheduling import node, pod, watts


def fleet(*nodes):
    snapshot = Snapshot()
    for number, (cores, idle, full) in enumerate(nodes):
        snapshot.set_node(node(f"n{number}", cpu=str(cores), memory="512Gi", annotations=watts(idle, full)))
    return snapshot


def service(name, use_of_request):
    built = pod(name, cpu="1", memory="1Gi")
    built["metadata"]["labels"] = {"app": use_of_request}
    return built


def test_room_costs_nothing_while_efficient_servers_have_enough_of_it():
    snapshot = fleet((16, 50, 66), (16, 50, 98))
    assert Scarcity(sleeps=False).prices(snapshot) is None
    snapshot.expected_use.add(3_000.0, 300.0)
    snapshot.expected_use.add(5_000.0, 1_250.0)
    assert Scarcity(sleeps=False).prices(snapshot) is None
    snapshot.expected_use.add(12_000.0, 12_000.0)
    # The first server draws 1 W a core, the last that is needed 3 W; of four cores that leave three use a tenth.
    prices = Scarcity(sleeps=False).prices(snapshot)[:2]
    assert np.allclose(prices, [(0.1 + 0.75 * (FAVOUR * 0.25 - 0.1)) * 2e-3, 0.0])


def test_room_costs_nothing_where_all_use_alike():
    snapshot = fleet((16, 50, 66), (16, 50, 98))
    snapshot.expected_use.add(20_000.0, 10_000.0)
    assert Scarcity(sleeps=False).prices(snapshot) is None


def test_pods_that_use_little_leave_scarce_servers_to_those_that_use_much():
    snapshot = fleet((16, 50, 66), (16, 50, 98))
    idler, worker = service("idler", "idle"), service("worker", "busy")
    snapshot.usage.teach(compile_pod(idler), 100.0, 100.0)
    snapshot.usage.teach(compile_pod(worker), 1000.0, 1000.0)
    placer = Placer(snapshot, SparsamPolicy())

    def chosen(built):
        return placer.consider(PendingPod(f"default/{built['metadata']['name']}", compile_pod(built))).node

    assert (chosen(idler), chosen(worker)) == ("n0", "n0")
    snapshot.expected_use.add(4_000.0, 1_000.0)
    snapshot.expected_use.add(16_000.0, 16_000.0)
    assert (chosen(idler), chosen(worker)) == ("n1", "n0")


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 64), st.integers(10, 100), st.integers(101, 400)), min_size=1, max_size=8),
    st.floats(0, 400),
)
def test_prices_are_those_of_a_slow_twin(nodes, cores):
    snapshot = fleet(*nodes)
    half = 500.0 * cores
    snapshot.expected_use.add(half, 0.27 * half)
    snapshot.expected_use.add(half, 0.77 * half)

    def parting(left_out):
        """Those that use a quarter leave first; levels are twentieths."""
        return 0.25 + (FAVOUR * 0.75 - 0.25) * half / left_out if left_out > half else 0.0

    unit = [(full - idle) / (1000.0 * size) for size, idle, full in nodes]
    wanted = []
    for own in unit:
        price = 0.0
        for worse in sorted(each for each in unit if each >= own):
            room = 1000.0 * sum(size for (size, *_), each in zip(nodes, unit, strict=True) if each <= worse)
            beyond = min((each for each in unit if each > worse), default=worse)
            price += (beyond - worse) * parting(1000.0 * cores - room) / unit.count(worse)
        wanted.append(price)
    found = Scarcity(sleeps=False).prices(snapshot)
    assert np.allclose(np.zeros(len(nodes)) if found is None else found[: len(nodes)], wanted)
