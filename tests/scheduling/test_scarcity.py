import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.scarcity import ALIKE, Scarcity
from sparsam.scheduling.snapshot import Resident, Snapshot
from sparsam.scheduling.usage import LEVELS
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


def prices(snapshot, level, sleeps=False):
    return Scarcity(sleeps=sleeps).prices(snapshot, level, batch=False)


def test_room_costs_nothing_while_efficient_servers_have_enough_of_it():
    snapshot = fleet((16, 50, 66), (16, 50, 98))
    assert prices(snapshot, 5) is None
    snapshot.usual_levels[[5, 20]] = 5_000.0, 16_000.0
    assert prices(snapshot, 5) is None


def test_room_that_others_will_use_more_costs_what_they_would_lose():
    snapshot = fleet((16, 50, 66), (16, 50, 98))
    snapshot.usual_levels[[5, 10, 20]] = 5_000.0, 10_000.0, 10_000.0
    # The first server draws 1 W a core, the other 3 W. Of 20 cores that others want there half use half.
    assert np.allclose(prices(snapshot, 5)[:2], [0.75 * 2e-3, 0.0])
    # For those that use half there is room beside the ten cores that use all.
    assert prices(snapshot, 10) is None
    assert prices(snapshot, 20) is None


def test_room_costs_nothing_where_all_use_alike():
    snapshot = fleet((16, 50, 66), (16, 50, 98))
    snapshot.usual_levels[10] = 30_000.0
    assert prices(snapshot, 10) is None


def test_the_room_is_free_for_all_once_those_have_theirs_who_use_more():
    snapshot = fleet((16, 50, 66), (16, 50, 98))
    snapshot.usual_levels[[5, 20]] = 20_000.0, 17_000.0
    scarcity = Scarcity(sleeps=False)
    assert scarcity.prices(snapshot, 5, batch=False)[0] > 0.0
    for number, node_name in enumerate(["n0"] * 8 + ["n1"] * 8):
        # A pod of which nothing is known is expected to use all of its request.
        snapshot.assume(Resident(f"default/p{number}", node_name, compile_pod(pod(f"p{number}", cpu="1"))))
        assert scarcity.prices(snapshot, 5, batch=False)[0] > 0.0
    for number in range(8):
        snapshot.remove_pod(f"default/p{8 + number}")
        snapshot.assume(Resident(f"default/q{number}", "n0", compile_pod(pod(f"q{number}", cpu="1"))))
    # Sixteen of the seventeen cores are where they should be, and for the last there is no room at all.
    snapshot.usual_levels[20] = 16_000.0
    snapshot.remove_pod("default/q0")
    snapshot.assume(Resident("default/q0", "n0", compile_pod(pod("q0", cpu="1"))))
    assert scarcity.prices(snapshot, 5, batch=False) is None


def test_a_place_on_a_server_with_few_of_them_counts_as_the_cpu_that_goes_with_it():
    snapshot = Snapshot()
    snapshot.set_node(node("n0", cpu="100", memory="100Gi", pods="50", annotations=watts(50, 150)))
    small, large = (compile_pod(pod("p", cpu=cpu, memory=memory)) for cpu, memory in (("1", "1Gi"), ("1", "8Gi")))
    assert snapshot.room_of(small) == 2000.0
    assert snapshot.room_of(large) == 8000.0
    assert snapshot.room_of(compile_pod(pod("p", cpu="9", memory="8Gi"))) == 9000.0
    # A second server counts at once, however few changes there were.
    snapshot.set_node(node("n1", cpu="100", memory="100Gi", pods="100", annotations=watts(50, 60)))
    assert snapshot.room_of(small) < 2000.0


def test_pods_that_use_little_leave_scarce_servers_to_those_that_use_much():
    snapshot = fleet((16, 50, 66), (16, 50, 98))
    idler, worker = service("idler", "idle"), service("worker", "busy")
    snapshot.usage.teach(compile_pod(idler), 100.0, 100.0)
    snapshot.usage.teach(compile_pod(worker), 1000.0, 1000.0)

    def chosen(built):
        return (
            Placer(snapshot, SparsamPolicy())
            .consider(PendingPod(f"default/{built['metadata']['name']}", compile_pod(built)))
            .node
        )

    assert (chosen(idler), chosen(worker)) == ("n0", "n0")
    snapshot.usual_levels[[2, 20]] = 4_000.0, 16_000.0
    assert (chosen(idler), chosen(worker)) == ("n1", "n0")


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 64), st.integers(10, 100), st.integers(101, 400)), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, LEVELS), st.integers(0, 100)), max_size=6),
    st.lists(st.tuples(st.integers(0, 7), st.integers(1, 16)), max_size=6),
)
def test_prices_are_those_of_a_slow_twin(nodes, usual, placed):
    snapshot = fleet(*nodes)
    for level, cores in usual:
        snapshot.usual_levels[level] += 1000.0 * cores
    there = [0] * len(nodes)
    for number, (where, cores) in enumerate(placed):
        row = where % len(nodes)
        there[row] += cores
        snapshot.assume(Resident(f"default/p{number}", f"n{row}", compile_pod(pod(f"p{number}", cpu=str(cores)))))
    present = {LEVELS: sum(there)}
    wanted = {level: snapshot.usual_levels[level] / 1000.0 for level in range(LEVELS + 1)}
    if sum(wanted.values()) <= sum(present.values()):
        wanted = present
    unit = [(full - idle) / (1000.0 * size) for size, idle, full in nodes]
    for level in (0, 7, 19, 20):
        expected = []
        for own in unit:
            price = 0.0
            for worst in sorted({each for each in unit if each >= own}):
                beyond = min((each for each in unit if each > worst), default=worst)
                within = [row for row, each in enumerate(unit) if each <= worst]
                left = sum(max(nodes[row][0] - there[row], 0) for row in within)
                has = {LEVELS: sum(there[row] for row in within)}
                missing = {
                    each: max(wanted.get(each, 0) - has.get(each, 0), 0)
                    for each in range(level + 1 + ALIKE, LEVELS + 1)
                }
                kept = sum(missing.values())
                if kept > left + 1e-9:
                    price += (beyond - worst) * sum(each / LEVELS * much for each, much in missing.items()) / kept
            expected.append(price)
        found = prices(snapshot, level)
        assert np.allclose(np.zeros(len(nodes)) if found is None else found[: len(nodes)], expected)
