from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.wishes import Wishes
from tests.support.scheduling import pod

GPU = "example.org/gpu"


def wanting(cards, cpu="1", **spec):
    return compile_pod(pod("p", requests={"cpu": cpu, GPU: str(cards)}, **spec))


def test_pods_without_devices_are_not_counted():
    wishes = Wishes()
    assert not wishes.see(compile_pod(pod("p", cpu="1")))
    assert not wishes.see(wanting(1), pods=0.0)
    assert (wishes.pods, wishes.frequent(), wishes.version) == (0.0, [], 0)


def test_kinds_are_told_apart_by_devices_nodes_and_the_size_of_what_they_ask_beside():
    wishes = Wishes()
    for each in (
        wanting(1, cpu="3200m"),
        wanting(1, cpu="3800m"),
        wanting(1, cpu="16"),
        wanting(2),
        wanting(1, nodeSelector={"model": "a"}),
    ):
        wishes.see(each)
    first = wishes.frequent()[0]
    assert [each.pods for each in wishes.frequent()] == [2, 1, 1, 1]
    assert (first.millicores / first.pods, first.demand.devices) == (3500, ((GPU, 1),))


def test_shares_of_many_sizes_are_few_kinds():
    wishes = Wishes()
    for amount in range(896, 960):
        wishes.see(wanting(amount))
    assert [each.pods for each in wishes.frequent()] == [64]


def test_the_version_rises_ever_more_seldom():
    wishes = Wishes()
    rises = [number for number in range(1, 101) if wishes.see(wanting(1))]
    assert rises == [1, 3, 7, 15, 31, 63]
    assert wishes.version == len(rises)
