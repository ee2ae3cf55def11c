import pytest

from sparsam.apiserver.options import delete_options, dry_run, field_validation
from sparsam.errors import BadRequest, Invalid, UnsupportedMediaType

JSON = "application/json"


def test_delete_options_come_from_the_body_or_else_from_the_query():
    body = b'{"gracePeriodSeconds": 5, "propagationPolicy": "Orphan", "preconditions": {"uid": "u"}, "dryRun": ["All"]}'
    options = delete_options(body, JSON, {"gracePeriodSeconds": "7"})
    assert (options.grace_seconds, options.policy, options.uid, options.dry_run) == (5, "Orphan", "u", True)
    options = delete_options(b"", JSON, {"gracePeriodSeconds": "7", "propagationPolicy": "Foreground"})
    assert (options.grace_seconds, options.policy, options.dry_run) == (7, "Foreground", False)
    assert delete_options(b"gracePeriodSeconds: 3\n", "application/yaml", {}).grace_seconds == 3


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"gracePeriodSeconds": "x"}', b'{"kind": "Pod"}', b"null", b"1"])
def test_bodies_that_are_no_delete_options_are_bad_requests(body):
    with pytest.raises(BadRequest):
        delete_options(body, JSON, {})


def test_other_encodings_are_not_read():
    with pytest.raises(UnsupportedMediaType):
        delete_options(b"\xa0", "application/cbor", {})


def test_dry_run_is_all_or_nothing():
    assert dry_run({"dryRun": "All"}, "CreateOptions")
    assert not dry_run({"dryRun": ""}, "CreateOptions")
    with pytest.raises(Invalid, match="CreateOptions"):
        dry_run({"dryRun": "Some"}, "CreateOptions")


def test_field_validation_has_three_levels():
    assert field_validation({"fieldValidation": ""}, "CreateOptions") == "Warn"
    assert field_validation({"fieldValidation": "Strict"}, "CreateOptions") == "Strict"
    with pytest.raises(Invalid, match="Unsupported value"):
        field_validation({"fieldValidation": "x"}, "CreateOptions")
