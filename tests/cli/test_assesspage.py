import re
from dataclasses import replace
from html.parser import HTMLParser

from sparsam.cli.assesspage import bars, page, percent
from sparsam.simulation.savings import CONSOLIDATED
from tests.simulation.test_savings import PRICES, answer, two_equal


class Checker(HTMLParser):
    """Collects tags, and what the page would load from elsewhere."""

    def __init__(self):
        super().__init__()
        self.tags, self.loads = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href")]


def test_the_page_needs_nothing_else_and_says_that_it_is_estimated():
    found = answer(two_equal())
    text = page("https://<cluster>", found, PRICES, ["an assumption & more"])
    checker = Checker()
    checker.feed(text)
    assert checker.loads == []
    assert "script" not in checker.tags
    assert checker.tags.count("svg") == 1
    assert "https://&lt;cluster&gt;" in text
    assert "an assumption &amp; more" in text
    assert re.search(r"About 35\.\d% ±\S+% of the energy: .* \(estimated\)", text)


def test_no_saving_is_stated_where_the_work_is_not_the_same():
    found = answer(two_equal())
    sleeping = replace(found.scenario(CONSOLIDATED), saved_ratio=None, saved_error=None, why_not="2 pods found no node")
    scenarios = tuple(sleeping if each.name == CONSOLIDATED else each for each in found.scenarios)
    text = page("c", replace(found, scenarios=scenarios), PRICES, [])
    assert "No saving can be stated: 2 pods found no node" in text
    assert percent(None, None) == "unequal work"


def test_bars_are_as_long_as_the_energy():
    lengths = [float(each) for each in re.findall(r'<rect [^>]*width="([\d.]+)"', bars(answer(two_equal()).scenarios))]
    assert len(lengths) == 7
    assert lengths[0] == max(lengths)
