import math

import pytest

from sparsam.hardware.environment import Fan, plausible_fan, plausible_inlet


@pytest.mark.parametrize(("celsius", "possible"), [(22.0, True), (-40.0, False), (128.0, False), (math.nan, False)])
def test_only_air_temperatures_count(celsius, possible):
    assert plausible_inlet(celsius) is possible


def test_a_fan_keeps_what_can_be_true():
    assert plausible_fan("a", 5000.0, 40.0) == Fan("a", 5000.0, 0.4)
    assert plausible_fan("a", -1.0, 40.0) == Fan("a", None, 0.4)
    assert plausible_fan("a", math.nan, 255.0) is None
