import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import nnls

from sparsam.power.nonnegative import solve

designs = st.integers(1, 6).flatmap(
    lambda columns: arrays(np.float64, (12, columns), elements=st.floats(-5, 5).map(lambda value: round(value, 2)))
)
targets = arrays(np.float64, 12, elements=st.floats(-10, 10).map(lambda value: round(value, 2)))


@given(designs, targets)
def test_the_solution_is_as_good_as_scipys(design, target):
    ours = solve(design.T @ design, design.T @ target)
    _, residual = nnls(design, target)
    assert (ours >= 0.0).all()
    assert np.linalg.norm(design @ ours - target) <= residual + 1e-6


def test_useless_columns_get_nothing():
    design = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0]])
    assert solve(design.T @ design, design.T @ np.array([2.0, 4.0])).tolist() == pytest.approx([2.0, 0.0, 0.0])
