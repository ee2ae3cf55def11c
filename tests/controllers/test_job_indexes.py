"""How a status lists completion indexes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sparsam.controllers.job_indexes import format_indexes, parse_indexes


def test_runs_are_written_as_ranges():
    assert format_indexes({1, 3, 4, 5, 7, 8}) == "1,3-5,7,8"
    assert format_indexes(set()) == ""


def test_what_is_beyond_or_unreadable_is_left_out():
    assert parse_indexes("1,3-9,x,-,4-y", 6) == {1, 3, 4, 5}
    assert parse_indexes(None, 6) == set()


@given(st.sets(st.integers(0, 200)))
def test_what_is_written_is_read(indexes: set[int]):
    assert parse_indexes(format_indexes(indexes), 201) == indexes
