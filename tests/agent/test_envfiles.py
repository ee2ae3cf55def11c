"""Files of variables: one form, and nothing that could be read in two ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.agent.envfiles import parse_env_file

NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="=#"), min_size=1, max_size=8)
VALUES = st.text(st.characters(exclude_characters="'", exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_what_was_written_is_read_back_whatever_the_value_holds(variables: dict[str, str]):
    text = "# made by a container\n\n" + "".join(f"  {name} = '{value}' # why\n" for name, value in variables.items())
    assert parse_env_file(text) == variables


def test_the_last_of_a_name_counts_and_the_last_line_needs_no_end():
    assert parse_env_file("A='1'\nB='2\n3'\nA='4'") == {"A": "4", "B": "2\n3"}
    assert parse_env_file("") == parse_env_file(" \n\n#A='1'") == {}


@pytest.mark.parametrize("text", ["A=1", 'A="1"', "A='1", "='1'", "A", "A='1' B='2'", "A='1'x", "A B='1'"])
def test_other_forms_are_refused_by_line(text: str):
    with pytest.raises(ValueError, match="line 2 is not of the form NAME='value'"):
        parse_env_file(f"FIRST='1'\n{text}\n")
