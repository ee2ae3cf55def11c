from sparsam.simulation.experiment import Row
from sparsam.simulation.headline import headline


def row(policy, saved, *, sleep=False, error=None, bound=0.4):
    return Row(
        policy, sleep, 100.0, saved, error, bound, "3 pods never ran, 1 under kube-default" if saved is None else ""
    )


BASE = row("kube-default", 0.0)


def test_ours_is_named_first_with_and_without_sleep():
    said = headline([BASE, row("sparsam", 0.31, error=0.01), row("sparsam", 0.6, sleep=True, bound=0.62)])
    assert said == (
        "sparsam uses 31.0% ±1.0% less energy than kube-default for the same work; no scheduler could save more than 40.0%. "
        "sparsam with sleep uses 60.0% less energy than kube-default for the same work; "
        "no scheduler could save more than 62.0%."
    )


def test_a_better_rival_stands_beside_it():
    said = headline([BASE, row("peaks", 0.35), row("random", -0.1), row("sparsam", 0.31)])
    assert said.startswith("sparsam uses 31.0% less")
    assert "The best other policy: peaks uses 35.0% less" in said
    assert "random" not in said


def test_more_energy_is_said_to_be_more():
    assert "sparsam uses 2.0% more energy" in headline([BASE, row("sparsam", -0.02)])


def test_unequal_work_of_ours_is_said_and_not_hidden_behind_another():
    said = headline([BASE, row("sparsam", None), row("peaks", 0.1)])
    assert said.startswith("No saving is stated of sparsam: 3 pods never ran")
    assert "peaks uses 10.0% less" in said


def test_without_ours_the_best_that_ran():
    assert headline([BASE, row("random", -0.1), row("peaks", 0.1)]).startswith("peaks uses 10.0% less")
    assert headline([BASE, row("peaks", None)]) == "No saving is stated: the runs did unequal work."
    assert headline([BASE]) == "No saving is stated: there was only one run."
