import pytest

from sparsam.power.catalogue import profiles
from sparsam.power.model import encode
from sparsam.power.server import MODEL_ANNOTATION
from sparsam.simulation.guess import guess, known_cpu, with_guess
from tests.support.scheduling import node, watts

BIG = {"cpu": "256", "memory": "512Gi"}
EPYC = next(each for each in profiles() if each.name == "epyc-7742-2s")


@pytest.mark.parametrize(
    ("text", "cpu"),
    [
        ("AMD-EPYC-7742-64-Core-Processor", "epyc 7742"),
        ("Intel(R) Xeon(R) Gold 6152 CPU @ 2.10GHz", "xeon gold 6152"),
        ("Intel_Xeon_E5-2660", "xeon e5-2660"),
        ("Intel-Xeon-E5-2660-v9", ""),
        ("x86_64", ""),
        ("m5.large", ""),
        ("", ""),
    ],
)
def test_a_cpu_is_known_by_the_words_of_its_name(text, cpu):
    assert known_cpu(text) == cpu


def test_a_whole_model_goes_before_everything_else():
    annotations = {MODEL_ANNOTATION: encode(EPYC.model).decode(), **watts(1, 2)}
    found = guess(node("n", annotations=annotations, **BIG))
    assert (found.sureness, found.model.idle_watts) == ("model", EPYC.model.idle_watts)


def test_a_model_that_does_not_hold_up_is_passed_over():
    found = guess(node("n", annotations={MODEL_ANNOTATION: "{}", **watts(1, 2)}, **BIG))
    assert (found.sureness, found.model.max_watts) == ("stated", 2.0)
    assert found.idle_error_ratio == 0.5
    assert not found.error_stated


@pytest.mark.parametrize(
    ("labels", "sureness"),
    [
        ({"node.kubernetes.io/instance-type": "epyc-7742-2s"}, "catalogue"),
        ({"example.org/cpu-model": "AMD-EPYC-7742"}, "cpu"),
        ({"example.org/cpu-model": "unheard-of"}, "prior"),
        ({}, "prior"),
    ],
)
def test_labels_tell_of_servers_like_it(labels, sureness):
    found = guess(node("n", labels=labels, **BIG))
    assert found.sureness == sureness
    assert found.model.estimated
    if sureness != "prior":
        assert found.model.max_watts == pytest.approx(EPYC.model.max_watts, rel=0.3)
        assert found.load_error_ratio < guess(node("n", **BIG)).load_error_ratio


def test_a_virtual_machine_is_not_taken_for_its_host():
    assert guess(node("n", cpu="4", memory="16Gi", labels={"cpu": "AMD-EPYC-7742"})).sureness == "prior"


def test_equal_servers_are_of_one_kind_and_others_are_not():
    one, same, other = (guess(node(f"n{n}", memory=memory)).kind for n, memory in enumerate(("8Gi", "8Gi", "16Gi")))
    assert one == same != other


def test_what_is_guessed_is_written_where_the_scheduler_reads_it():
    guessed = with_guess(node("n", labels={"cpu": "AMD-EPYC-7742"}, **BIG))
    assert guess(guessed).sureness == "model"
    plain = node("n", **BIG)
    assert with_guess(plain) is plain
