from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.objects.quantity import QuantityError, amount, canonical
from sparsam.units import parse_quantity


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.1Gi", "107374182400m"),
        ("1500", "1500"),
        ("1000k", "1M"),
        ("100Ki", "100Ki"),
        ("512", "512"),
        ("0.5Ki", "512"),
        ("1e3", "1e3"),
        ("12E6", "12e6"),
        ("0", "0"),
        ("0Gi", "0"),
        ("-1.5", "-1500m"),
        (".5", "500m"),
        ("5.", "5"),
        ("0.0000000001", "1n"),
        ("100E", "9223372036854775807"),
        ("+3", "3"),
    ],
)
def test_quantities_are_written_in_their_canonical_form(text, wanted):
    assert canonical(text) == wanted


@pytest.mark.parametrize("text", ["", "x", "1x", "Bad Value!", "1 ", "--1", "1.2.3", "1Q"])
def test_what_is_no_quantity_at_all_breaks_the_pattern(text):
    with pytest.raises(QuantityError, match="quantities must match the regular expression"):
        canonical(text)


@pytest.mark.parametrize("text", ["1kk", "1Kk", "1e", "1m3"])
def test_an_unknown_suffix_is_told_apart(text):
    with pytest.raises(QuantityError, match="unable to parse quantity's suffix"):
        canonical(text)


@given(st.integers(-(10**12), 10**12), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "u", "n"]))
def test_the_canonical_form_has_the_same_value_and_is_its_own(number, suffix):
    text = f"{number}{suffix}"
    assert parse_quantity(canonical(text)) == parse_quantity(text)
    assert canonical(canonical(text)) == canonical(text)
    assert isinstance(parse_quantity(text), Decimal)


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        (("1Gi", "1G"), "2073741824"),
        (("512Mi", "512Mi"), "1Gi"),
        (("0", "1Gi"), "1Gi"),
        (("1500m", "500m"), "2"),
        (("1G", "1Gi"), "2073741824"),
        (("250m", "-250m"), "0"),
    ],
)
def test_sums_are_shown_in_the_style_of_their_first_part(parts, wanted):
    first, second = (amount(part) for part in parts)
    assert str(first + second) == wanted
    assert (first + second - second).value == first.value
