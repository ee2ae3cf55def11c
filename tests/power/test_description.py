import numpy as np
import pytest

from sparsam.power.description import KNOWLEDGE, Description, cpu_key, cpu_series, learn_encoding
from tests.support.servers import made_up_servers

SERVERS = made_up_servers()


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Intel(R) Xeon(R) Platinum 8275CL CPU @ 3.00GHz", "xeon platinum 8275cl"),
        ("Intel Xeon E5-2660 2.20 GHz (Intel Turbo Boost Technology up to 3.00 GHz)", "xeon e5-2660"),
        ("Intel Xeon E5-2660v2", "xeon e5-2660 v2"),
        ("Intel E3-1260L v5", "xeon e3-1260l v5"),
        ("AMD EPYC 7742 64-Core Processor", "epyc 7742"),
        ("AMD EPYC 7742 2.25Ghz", "epyc 7742"),
        ("Quad-Core AMD Opteron(r) Processor 8381 HE", "opteron 8381 he"),
        ("AMD Ryzen 7 5800X with Radeon Graphics", "ryzen 7 5800x"),
        ("", ""),
    ],
)
def test_the_ways_in_which_a_cpu_is_written_become_one_key(name, key):
    assert cpu_key(name) == key


def test_a_series_keeps_the_generation_but_not_the_numbers():
    assert cpu_series("Intel Xeon E5-2699 v3 2.30 GHz") == cpu_series("Intel Xeon E5-2630 v3") == "xeon e#-# v3"
    assert cpu_series("Intel Xeon E5-2699 v3") != cpu_series("Intel Xeon E5-2699 v4")


def test_only_what_is_known_is_kept():
    full = SERVERS.descriptions[0]
    assert full.only(KNOWLEDGE["hardware"]) == full
    assert full.only(KNOWLEDGE["cpu"]) == Description(cpu_name=full.cpu_name)


def test_features_are_standardised_and_known_whatever_is_left_out():
    encoding = learn_encoding(SERVERS.descriptions)
    features = encoding.features(SERVERS.descriptions)
    assert features.mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert np.isfinite(
        encoding.features([Description(), Description(cpu_name="EPYC 7742"), Description(cores=1e6)])
    ).all()


def test_what_belongs_to_the_cpu_is_filled_in_from_servers_with_the_same_cpu():
    encoding = learn_encoding(SERVERS.descriptions)
    full = next(one for one in SERVERS.descriptions if one.cpu_name == "EPYC 7742")
    without_year = Description(
        cpu_name=full.cpu_name,
        chips=full.chips,
        cores=full.cores,
        threads=full.threads,
        memory_gb=full.memory_gb,
        psu_rating_w=full.psu_rating_w,
    )
    whole, filled = encoding.features([full, without_year])
    np.testing.assert_allclose(whole, filled)


def test_no_description_at_all_gives_no_rows():
    assert learn_encoding(SERVERS.descriptions).features([]).shape[0] == 0
