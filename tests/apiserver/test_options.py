import pytest

from sparsam.apiserver.options import delete_options, dry_run, field_manager, field_validation, forced
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


@pytest.mark.parametrize(
    ("manager", "agent", "name"),
    [
        ("me", "kubectl/1.37 (linux)", "me"),
        ("", "kubectl/1.37 (linux)", "kubectl"),
        ("", "", "unknown"),
        ("", "/x", "unknown"),
        ("", "a\tb/1", "ab"),
        ("", "x" * 200, "x" * 128),
    ],
)
def test_a_write_is_remembered_by_its_manager_or_by_its_program(manager, agent, name):
    assert field_manager({"fieldManager": manager}, "CreateOptions", agent) == name


@pytest.mark.parametrize(
    ("manager", "message"),
    [
        ("x" * 129, "fieldManager: Too long: may not be more than 128 bytes"),
        ("é\n", 'fieldManager: Invalid value: "é\\n": invalid character U+000A (at position 2)'),
    ],
)
def test_managers_have_decent_names(manager, message):
    with pytest.raises(Invalid) as caught:
        field_manager({"fieldManager": manager}, "PatchOptions", "")
    assert caught.value.message == f'PatchOptions.meta.k8s.io "" is invalid: {message}'


def test_only_an_apply_may_be_forced_and_it_needs_a_manager():
    assert forced({"fieldManager": "m", "force": "true"}, applying=True)
    assert not forced({"fieldManager": "m"}, applying=True)
    assert not forced({"fieldManager": "m", "force": "false"}, applying=True)
    with pytest.raises(Invalid, match="fieldManager: Required value: is required for apply patch"):
        forced({}, applying=True)
    with pytest.raises(Invalid, match="force: Forbidden: may not be specified for non-apply patch"):
        forced({"force": "false"}, applying=False)
