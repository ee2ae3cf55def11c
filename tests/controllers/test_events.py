from datetime import UTC, datetime

import pytest

from sparsam.controllers.events import last_seen

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "hour"),
    [
        ({}, 10),
        ({"lastTimestamp": "2026-01-01T11:00:00Z"}, 11),
        ({"eventTime": "2026-01-01T11:00:00.000000Z"}, 11),
        ({"eventTime": "2017-09-19T13:49:16.000000Z"}, 10),
        ({"eventTime": "2026-01-01T09:00:00Z", "series": {"lastObservedTime": "2026-01-01T11:00:00.000000Z"}}, 11),
        ({"lastTimestamp": "2099-01-01T00:00:00Z"}, 10),
        ({"lastTimestamp": None, "eventTime": None, "series": None}, 10),
    ],
)
def test_an_event_counts_from_when_it_was_made_or_seen_later(told, hour):
    event = {"metadata": {"creationTimestamp": "2026-01-01T10:00:00Z"}, **told}
    assert last_seen(event, NOW) == NOW.replace(hour=hour)
