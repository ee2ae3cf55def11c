import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.power.server import from_annotations, marginal_watts, prior_for

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


@given(WATTS, WATTS, SHARE, SHARE)
def test_vectorised_marginal_watts_equal_the_difference_of_two_predictions(idle, dynamic, before, added):
    power = from_annotations(
        {"power.sparsam.dev/idle-watts": repr(idle), "power.sparsam.dev/max-watts": repr(idle + dynamic)}, 8
    )
    scalar = power.watts(before + added) - power.watts(before)
    columns = [np.array([value]) for value in (idle, idle + dynamic, before, added)]
    assert marginal_watts(*columns)[0] == pytest.approx(scalar, abs=1e-6)
    assert scalar >= -1e-9
