import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.power.attribution import Attribution, EnergyLedger, Node, Use, attribute

watts = st.floats(0, 5000)
amounts = st.floats(0, 1e12)
rows = st.lists(st.tuples(amounts, amounts, watts), max_size=12)
nodes = st.builds(
    Node,
    watts=watts,
    idle_watts=watts,
    system_cpu_seconds=amounts,
    explained_watts=st.one_of(watts, st.just(math.inf)),
    memory_watts=watts,
    gpu_watts=watts,
)


def use_of(drawn) -> Use:
    columns = np.array(drawn, dtype=np.float64).reshape(len(drawn), 3)
    return Use(columns[:, 0], columns[:, 1], columns[:, 2])


def every_part(parted: Attribution) -> np.ndarray:
    return np.concatenate(
        [
            [parted.idle_watts, parted.system_watts, parted.unattributed_watts],
            parted.active_watts,
            parted.memory_watts,
            parted.gpu_watts,
        ]
    )


@given(nodes, rows)
def test_parts_add_up_to_the_whole(node, drawn):
    assert attribute(node, use_of(drawn)).watts == pytest.approx(node.watts, rel=1e-9, abs=1e-9)


@given(nodes, rows)
def test_no_part_is_negative(node, drawn):
    assert (every_part(attribute(node, use_of(drawn))) >= 0.0).all()


@given(nodes, rows)
def test_a_consumer_that_used_nothing_changes_nobodys_part(node, drawn):
    without, with_it = attribute(node, use_of(drawn)), attribute(node, use_of([*drawn, (0.0, 0.0, 0.0)]))
    assert with_it.consumer_watts[-1] == 0.0
    assert with_it.consumer_watts[:-1] == pytest.approx(without.consumer_watts)
    assert with_it.unattributed_watts == pytest.approx(without.unattributed_watts)


@given(nodes, rows.filter(len), st.randoms())
def test_the_order_of_consumers_does_not_matter(node, drawn, chance):
    order = list(range(len(drawn)))
    chance.shuffle(order)
    parted = attribute(node, use_of(drawn)).consumer_watts
    shuffled = attribute(node, use_of([drawn[each] for each in order])).consumer_watts
    assert shuffled == pytest.approx(parted[order], rel=1e-9, abs=1e-9)


@given(nodes, rows)
def test_a_consumer_that_used_more_never_gets_less(node, drawn):
    use = use_of(drawn)
    active = attribute(node, use).active_watts
    order = np.argsort(use.cpu_seconds, kind="stable")
    assert (np.diff(active[order]) >= -1e-9).all()


def test_active_watts_go_by_cpu_time_and_the_system_has_its_own():
    parted = attribute(Node(watts=200.0, idle_watts=100.0, system_cpu_seconds=1.0), Use.of_cpu([3.0, 6.0]))
    assert (parted.idle_watts, parted.system_watts, parted.unattributed_watts) == (100.0, 10.0, 0.0)
    assert parted.active_watts.tolist() == [30.0, 60.0]


def test_what_no_load_explains_is_given_to_nobody():
    parted = attribute(Node(watts=200.0, idle_watts=100.0, explained_watts=5.0), Use.of_cpu([0.001]))
    assert parted.active_watts.tolist() == [5.0]
    assert parted.unattributed_watts == 95.0


def test_a_node_below_its_idle_watts_is_all_idle():
    parted = attribute(Node(watts=80.0, idle_watts=100.0), Use.of_cpu([1.0]))
    assert (parted.idle_watts, parted.active_watts.tolist()) == (80.0, [0.0])


def test_cards_go_to_those_who_have_them():
    use = Use(np.array([1.0, 1.0]), np.zeros(2), np.array([250.0, 0.0]))
    parted = attribute(Node(watts=600.0, idle_watts=100.0, gpu_watts=300.0), use)
    assert parted.gpu_watts.tolist() == [250.0, 0.0]
    assert parted.active_watts.tolist() == [125.0, 125.0]


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(broken):
    with pytest.raises(ValueError, match="finite"):
        attribute(Node(watts=broken, idle_watts=1.0), Use.of_cpu([1.0]))
    with pytest.raises(ValueError, match="finite"):
        attribute(Node(watts=1.0, idle_watts=1.0), Use.of_cpu([broken]))


def test_an_explanation_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="not a number"):
        attribute(Node(watts=1.0, idle_watts=1.0, explained_watts=math.nan), Use.of_cpu([1.0]))


@given(st.lists(st.tuples(nodes, st.lists(amounts, min_size=2, max_size=2), st.floats(0, 3600)), max_size=8))
def test_energy_never_falls_and_adds_up(intervals):
    ledger, whole, before = EnergyLedger(), 0.0, {}
    for node, cpu_seconds, seconds in intervals:
        ledger.observe(["a", "b"], attribute(node, Use.of_cpu(cpu_seconds)), seconds)
        whole += node.watts * seconds
        assert all(ledger.consumers[key] >= joules for key, joules in before.items())
        before = dict(ledger.consumers)
    assert ledger.joules == pytest.approx(whole, rel=1e-9, abs=1e-6)
    assert ledger.parts["pods"] == pytest.approx(sum(ledger.consumers.values()), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(("keys", "seconds"), [(["a", "b"], 1.0), ([], 1.0), (["a"], -1.0), (["a"], math.nan)])
def test_an_interval_that_cannot_be_changes_nothing(keys, seconds):
    ledger = EnergyLedger()
    ledger.observe(["a"], attribute(Node(30.0, 10.0), Use.of_cpu([1.0])), 10.0)
    before = dict(ledger.parts), dict(ledger.consumers)
    with pytest.raises(ValueError, match=r"keys for|an interval of"):
        ledger.observe(keys, attribute(Node(30.0, 10.0), Use.of_cpu([1.0])), seconds)
    assert (ledger.parts, ledger.consumers) == before


def test_time_without_a_reading_is_counted_and_adds_no_energy():
    ledger = EnergyLedger()
    ledger.miss(30.0)
    ledger.miss(-5.0)
    assert (ledger.gap_seconds, ledger.joules) == (30.0, 0.0)


def test_a_ledger_goes_on_from_what_was_written_down():
    ledger = EnergyLedger()
    ledger.observe(["a"], attribute(Node(30.0, 10.0), Use.of_cpu([1.0])), 10.0)
    again = EnergyLedger(dict(ledger.parts), dict(ledger.consumers), ledger.gap_seconds)
    again.observe(["a"], attribute(Node(30.0, 10.0), Use.of_cpu([1.0])), 10.0)
    assert again.consumers == {"a": 400.0}
    assert again.joules == 600.0


def test_forgetting_a_consumer_keeps_the_nodes_energy():
    ledger = EnergyLedger()
    ledger.observe(["a", "b"], attribute(Node(30.0, 10.0), Use.of_cpu([1.0, 1.0])), 10.0)
    ledger.forget({"b": None})
    assert ledger.consumers == {"b": 100.0}
    assert ledger.joules == 300.0
