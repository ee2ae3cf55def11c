import pytest
from hypothesis import strategies as st

from sparsam.power.server import from_annotations, prior_for

WATTS = st.floats(0, 1000)
SHARE = st.floats(0, 2)


def test_annotations_give_the_nodes_own_watts():
    power = from_annotations({"power.sparsam.dev/idle-watts": "50", "power.sparsam.dev/max-watts": "200"}, 8)
    assert (power.idle_watts, power.max_watts, power.estimated) == (50, 200, False)
    assert power.watts(0.5) == 125


@pytest.mark.parametrize(
    ("idle", "full"), [("x", "200"), ("-1", "200"), ("300", "200"), ("nan", "200"), ("1", "inf"), ("nan", "nan")]
)
def test_unusable_annotations_fall_back_to_the_prior_and_say_so(idle, full):
    power = from_annotations({"power.sparsam.dev/idle-watts": idle, "power.sparsam.dev/max-watts": full}, 8)
    assert power.idle_watts == prior_for(8).idle_watts
    assert power.estimated
    assert "unusable" in power.source


def test_the_prior_is_labelled_with_its_error():
    assert prior_for(64).estimated
    assert "median error 26%" in prior_for(64).source
