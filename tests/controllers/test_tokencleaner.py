from datetime import UTC, datetime

import pytest

from sparsam.controllers.tokencleaner import is_expired
from tests.support.joining import token_secret

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expiration", "expired"),
    [
        ("2026-01-01T00:00:00Z", True),
        ("2026-01-01T00:00:01Z", False),
        ("2026-01-01T01:00:00+01:00", True),
        (None, False),
        ("soon", False),
    ],
)
def test_a_token_is_over_when_it_says_so(expiration, expired):
    assert is_expired(token_secret(expiration=expiration), NOW) is expired
