from datetime import UTC, datetime

import pytest

from sparsam.apiserver.tables.custom import printer
from sparsam.objects.objecttypes import PrinterColumn

NOW = datetime(2026, 1, 1, 0, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value", "cell"),
    [
        ("string", "a", "a"),
        ("string", 3, "3"),
        ("string", {"a": [1]}, '{"a":[1]}'),
        ("string", None, None),
        ("integer", 3, 3),
        ("integer", 3.7, 3),
        ("integer", "3", None),
        ("integer", True, None),
        ("number", 3, 3.0),
        ("boolean", False, False),
        ("boolean", 0, None),
        ("date", "2026-01-01T00:00:00Z", "2m"),
        ("date", "yesterday", "<invalid>"),
        ("date", 5, None),
    ],
)
def test_a_value_becomes_a_cell_of_the_type_or_none(kind, value, cell):
    found = printer((PrinterColumn("C", kind, ".v"),)).row({"metadata": {"name": "n"}, "v": value}, NOW)
    assert found == ["n", cell]


def test_what_is_not_there_and_paths_that_lead_nowhere_leave_a_cell_empty():
    columns = (PrinterColumn("A", "string", ".x.y"), PrinterColumn("B", "string", "nonsense["))
    assert printer(columns).row({"metadata": {"name": "n"}}, NOW) == ["n", None, None]
    described = printer(columns).columns[1].as_json()
    assert described["description"] == "Custom resource definition column (in JSONPath format): .x.y"
