from hypothesis import given
from hypothesis import strategies as st

from sparsam.scheduling.columns import ABSENT
from sparsam.scheduling.labels import Labels

ROWS = 6
LABELS = st.dictionaries(st.sampled_from(["zone", "disk"]), st.sampled_from(["a", "b", "c"]))


@given(st.lists(st.tuples(st.integers(0, ROWS - 1), LABELS)))
def test_rows_share_a_place_where_they_share_the_label(changes):
    labels, told = Labels(), [{} for _ in range(ROWS)]
    labels.grow(ROWS)
    for row, stated in changes:
        labels.set_row(row, stated)
        told[row] = stated
        for key in ("zone", "disk"):
            places, count = labels.domains(key)
            values = sorted({each[key] for each in told if key in each})
            assert count == len(values)
            assert all((place == count) == (key not in each) for place, each in zip(places, told, strict=True))
            pairs = {(each.get(key), int(place)) for place, each in zip(places, told, strict=True)}
            assert len(pairs) == len({value for value, _ in pairs}) == len({place for _, place in pairs})


def test_room_for_more_rows_leaves_labels_as_they_are():
    labels = Labels()
    labels.grow(2)
    labels.set_row(1, {"zone": "a"})
    assert labels.domains("zone")[1] == 1
    labels.grow(4)
    labels.set_row(3, {"zone": "a"})
    assert labels.columns["zone"].tolist() == [ABSENT, 0, ABSENT, 0]
    places, count = labels.domains("zone")
    assert (places.tolist(), count) == ([1, 0, 1, 0], 1)
