import numpy as np
import pytest

from sparsam.simulation.experiment import play
from sparsam.simulation.story import SHADE_ASLEEP, tell
from sparsam.units import joules_to_kwh
from tests.simulation.test_world import servers, trace

PODS = [(0.0, 3000.0, "2"), (600.0, 1200.0, "3"), (900.0, 900.0, "1")]


@pytest.fixture(scope="module")
def told():
    nodes, arrivals = servers(4), trace(*PODS, horizon=3600.0)
    played = [play(nodes, arrivals, policy, sleeps=policy == "sparsam") for policy in ("kube-default", "sparsam")]
    return tell(nodes, arrivals, played), played


def test_what_is_shown_adds_up_to_what_was_run(told):
    story, played = told
    for chapter, (run, history) in zip(story.chapters, played, strict=True):
        assert chapter.rack_core_hours.sum() == pytest.approx(run.work_done)
        assert dict(chapter.joules)["idle"] == history.parts.idle
        assert sum(joules for _, joules in chapter.joules) == pytest.approx(history.joules.sum())
        assert (chapter.awake + chapter.asleep <= 4).all()
    (_, awake), (name, asleep) = story.bounds
    assert name == "least possible, sleep"
    seconds = np.full(len(awake), 3600.0 / len(awake))
    for watts, (run, _) in ((awake, played[0]), (asleep, played[1])):
        assert joules_to_kwh(float(watts @ seconds)) == pytest.approx(run.bound_kwh)


def test_each_line_of_a_heat_map_is_a_node_the_cheapest_first(told):
    story, played = told
    assert sorted(story.nodes) == sorted(each["metadata"]["name"] for each in servers(4))
    spread, packed = (chapter.load for chapter in story.chapters)
    assert spread.shape == packed.shape == (4, len(story.hours))
    assert (spread >= 0).all()
    assert (packed == SHADE_ASLEEP).any()
    assert spread.max() == round(100 * played[0][1].load.max())


def test_the_fleet_in_order_of_cost(told):
    story, _ = told
    watts = [each for *_, each in story.order]
    assert watts == sorted(watts)
    assert sum(cores for _, cores, _ in story.order) == pytest.approx(16.0)
