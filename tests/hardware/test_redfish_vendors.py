import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.hardware.redfish import choose_chassis
from sparsam.hardware.redfish_vendors import (
    GENERIC,
    VENDORS,
    Place,
    bias_of,
    fans_in,
    inlet_in,
    power_in,
    profile_in,
    recognise,
)

NAMES = [
    *(
        "Vendor",
        "Product",
        "Name",
        "Oem",
        "Manufacturer",
        "PowerControl",
        "PowerConsumedWatts",
        "PowerWatts",
        "Reading",
    ),
    *("PowerSupplies", "PowerInputWatts", "Status", "State", "Temperatures", "ReadingCelsius", "PhysicalContext"),
    *("TemperatureSummaryCelsius", "Intake", "TemperatureReadingsCelsius", "DeviceName", "DataSourceUri", "Fans"),
    *("ReadingUnits", "FanSpeedsPercent", "SpeedRPM", "ts_fujitsu", "ChassisPowerConsumption", "Links", "Id"),
    *("CurrentPowerConsumptionW", "ComputerSystems", "@odata.id", "InputPowerWatts", "Power"),
]
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(["Intake", "Absent"])
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6)


@given(OBJECTS, OBJECTS)
def test_no_answer_whatsoever_makes_the_readers_fail(payload: dict[str, Any], other: dict[str, Any]):
    vendor = recognise(payload, other)
    for place in Place:
        power_in(place, payload, vendor)
    found = inlet_in(payload, vendor)
    assert found is None or -20.0 <= found[0] <= 70.0
    for fan in fans_in(payload):
        assert fan.rpm is not None or fan.ratio is not None
    choose_chassis([payload, other], "")


@pytest.mark.parametrize(
    ("root", "chassis", "name"),
    [
        ({"Vendor": "Dell"}, {}, "Dell iDRAC"),
        ({"Oem": {"Hpe": {}}}, {}, "HPE iLO"),
        ({"Name": "HP RESTful Root Service"}, {}, "HPE iLO"),
        ({}, {"Manufacturer": "Lenovo"}, "Lenovo XCC"),
        ({}, {"Manufacturer": "Super Micro Computer"}, "Supermicro"),
        ({"Oem": {"OpenBmc": {}}}, {}, "OpenBMC"),
        ({"Vendor": "FUJITSU"}, {}, "Fujitsu iRMC"),
        ({"Vendor": "Hpxyz", "Product": "philosopher"}, {"Manufacturer": None}, "generic Redfish"),
        ({"Vendor": 7}, {}, "generic Redfish"),
    ],
)
def test_vendors_are_recognised_by_what_they_say(root, chassis, name):
    assert recognise(root, chassis).name == name


def test_sub_systems_are_never_added_to_the_server_they_are_part_of():
    entries = [
        {"Name": "CPU Sub-system Power", "PowerConsumedWatts": 155},
        {"Name": "Memory Sub-system Power", "PowerConsumedWatts": 49},
        {"Name": "Server Power Control", "PowerConsumedWatts": 263},
    ]
    for vendor in (*VENDORS, GENERIC):
        assert power_in(Place.POWER, {"PowerControl": entries}, vendor) == 263
    assert power_in(Place.POWER, {"PowerControl": entries[:2]}, GENERIC) is None


def test_a_single_entry_may_be_an_object_and_a_number_a_string():
    assert power_in(Place.POWER, {"PowerControl": {"PowerConsumedWatts": "138"}}, GENERIC) == 138


def test_supplies_count_only_when_all_that_are_fitted_tell():
    told = {"PowerInputWatts": 100, "Status": {"State": "Enabled"}}
    silent = {"PowerInputWatts": None, "Status": {"State": "Enabled"}}
    absent = {"PowerInputWatts": None, "Status": {"State": "Absent"}}
    assert power_in(Place.POWER_SUPPLIES, {"PowerSupplies": [told, told, absent]}, GENERIC) == 200
    assert power_in(Place.POWER_SUPPLIES, {"PowerSupplies": [told, silent]}, GENERIC) is None
    assert power_in(Place.POWER_SUPPLIES, {"PowerSupplies": [absent]}, GENERIC) is None


@pytest.mark.parametrize("rated", [{"PowerCapacityWatts": 750}, {"InputRanges": [{"OutputWattage": 750}]}])
def test_a_supplys_rating_is_not_taken_for_its_input(rated):
    assert power_in(Place.POWER_SUPPLIES, {"PowerSupplies": [{"PowerInputWatts": 900, **rated}]}, GENERIC) is None
    assert power_in(Place.POWER_SUPPLIES, {"PowerSupplies": [{"PowerInputWatts": 210, **rated}]}, GENERIC) == 210


def test_a_number_that_is_none_reaches_the_guards_as_such():
    watts = power_in(Place.ENVIRONMENT, {"PowerWatts": {"Reading": math.nan}}, GENERIC)
    assert watts is not None and math.isnan(watts)
    assert power_in(Place.SENSOR, {"Reading": 12, "ReadingUnits": "Cel"}, GENERIC) is None


def test_a_broken_inlet_sensor_gives_way_to_the_next():
    sensors = [
        {"Name": "Inlet Temp", "ReadingCelsius": 128, "PhysicalContext": "Intake"},
        {"Name": "Bay", "ReadingCelsius": 24, "PhysicalContext": "Intake"},
        {"Name": "Inlet B", "ReadingCelsius": 25, "Status": {"State": "Absent"}},
    ]
    assert inlet_in({"Temperatures": sensors}, GENERIC) == (24.0, "Bay")


@pytest.mark.parametrize(
    ("profile", "bias"),
    [
        ("PerfPerWattOptimizedDapc", "efficiency"),
        ("PerfOptimized", "performance"),
        ("GeneralPowerEfficientCompute", "efficiency"),
        ("Virtualization-MaxPerformance", "performance"),
        ("MaximumPerformance", "performance"),
        ("MaximumEfficiency", "efficiency"),
        ("Efficiency_FavorPower", "efficiency"),
        ("Balanced", "balanced"),
        ("Custom", "unknown"),
    ],
)
def test_makers_words_for_profiles_have_one_meaning(profile, bias):
    assert bias_of(profile) == bias


def test_a_profile_that_is_not_available_is_none():
    dell = VENDORS[0]
    assert profile_in({"Attributes": {"SysProfile": "PerfOptimized"}}, dell) == "PerfOptimized"
    assert profile_in({"Attributes": {"SysProfile": "NotAvailable"}}, dell) is None
    assert profile_in({"Attributes": [1]}, dell) is None
