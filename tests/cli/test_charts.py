from xml.etree import ElementTree

import numpy as np
import pytest

from sparsam.cli.charts import Chart, Series, svg, text

X = np.linspace(0, 100, 5)


def chart(*series, title="Power <over> load"):
    return Chart(title, "load in %", "watts", series)


def test_text_charts_rise_where_the_line_rises():
    drawn = text(chart(Series("up", X, 2 * X)), width=40, height=10).splitlines()
    rows = [line.partition("|")[2] for line in drawn if "|" in line]
    first, last = rows[0].find("*"), rows[-1].find("*")
    assert first > 30
    assert last == 0


def test_each_line_has_a_mark_and_a_name():
    drawn = text(chart(Series("one", X, X), Series("two", X, 50 + 0 * X)))
    assert "* one" in drawn
    assert "o two" in drawn


@pytest.mark.parametrize("top", [0.0, 0.7, 9.9, 10.0, 101.0, 385.0, 12_000.0])
def test_ticks_are_few_and_reach_the_highest_value(top):
    ticks = chart(Series("one", X, X / 100 * top)).y_ticks()
    assert ticks[0] == 0
    assert ticks[-1] >= top
    assert len(ticks) <= 9


def test_svg_is_well_formed_whatever_the_names_and_shows_bands_and_dots():
    band = Series("a & b", X, X, X * 0.9, X * 1.1)
    document = svg(chart(band, Series("<measured>", X, X, dots=True)))
    tags = [element.tag.rpartition("}")[2] for element in ElementTree.fromstring(document).iter()]
    assert (tags.count("polyline"), tags.count("polygon"), tags.count("circle")) == (1, 1, 5)


def test_an_unknown_band_is_left_out():
    nothing = np.full(5, np.nan)
    assert "polygon" not in svg(chart(Series("one", X, X, nothing, nothing)))
