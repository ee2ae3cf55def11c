import copy
import json
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sparsam.apiserver import conversion
from sparsam.errors import BadRequest, Conflict, StatusError
from sparsam.objects import applying, fieldsets, ownership, shapeproblems, typed
from sparsam.objects.kinds import CONFIGMAPS, DEPLOYMENTS, RESOURCES, find
from sparsam.objects.ownership import Writer
from sparsam.objects.schema import for_resource
from tests.support.random_objects import random_object

THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
AUTOSCALERS_V1, AUTOSCALERS = (find("autoscaling", version, "horizontalpodautoscalers") for version in ("v1", "v2"))
CONTAINERS = ".spec.template.spec.containers"


def writer(manager, resource=CONFIGMAPS, subresource="", now=NOW):
    return Writer(manager, resource, now, conversion.between, subresource)


def apply(manager, live, config, resource=CONFIGMAPS, *, force=False):
    """The outcome as the server would read it."""
    before = copy.deepcopy((live, config))
    new = applying.apply(writer(manager, resource), live, config, force=force)
    assert (live, config) == before
    return typed.read(for_resource(resource).name, new)[0] | {
        "kind": config["kind"],
        "apiVersion": config["apiVersion"],
    }


def update(manager, live, **changes):
    new = copy.deepcopy(live) | changes
    ownership.record(writer(manager), new, live)
    return new


def config_map(**data):
    named = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    return named | ({"data": data} if data else {})


def deployment(*containers, **spec):
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": list(containers)}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}


def owners(obj):
    return {
        (each["manager"], each["operation"]): [
            fieldsets.format_path(path) for path in fieldsets.paths(each["fieldsV1"])
        ]
        for each in obj["metadata"].get("managedFields", [])
    }


def refusal(*arguments, **options):
    with pytest.raises(StatusError) as caught:
        apply(*arguments, **options)
    return caught.value


def test_what_is_not_applied_any_more_goes():
    live = apply("m", None, config_map(a="1", b="2"))
    live = apply("m", live, config_map(b="2"))
    assert live["data"] == {"b": "2"}
    assert owners(live) == {("m", "Apply"): [".data.b"]}


def test_what_others_own_stays():
    live = apply("one", None, config_map(a="1", b="2"))
    live = apply("two", live, config_map(a="1"))
    live = update("three", live, data=live["data"] | {"c": "3"})
    live = apply("one", live, config_map())
    assert live["data"] == {"a": "1", "c": "3"}
    assert owners(live) == {("two", "Apply"): [".data.a"], ("three", "Update"): [".data.c"]}


def test_equal_wishes_share_a_field_and_different_ones_are_a_conflict():
    live = apply("one", None, config_map(a="1", b="2"))
    assert owners(apply("two", live, config_map(a="1")))[("one", "Apply")] == [".data.a", ".data.b"]
    error = refusal("two", live, config_map(a="x"))
    assert isinstance(error, Conflict)
    assert error.message == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert error.details == {
        "causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}]
    }
    forced = apply("two", live, config_map(a="x"), force=True)
    assert forced["data"] == {"a": "x", "b": "2"}
    assert owners(forced) == {("one", "Apply"): [".data.b"], ("two", "Apply"): [".data.a"]}


def test_several_conflicts_are_listed_by_manager():
    live = apply("one", None, config_map(a="1", b="2", c="3"))
    live = update("two", live, data=live["data"] | {"d": "4"})
    error = refusal("three", live, config_map(a="x", b="x", d="x"))
    assert error.message == (
        'Apply failed with 3 conflicts: conflicts with "one":\n- .data.a\n- .data.b\n'
        'conflicts with "two" using v1:\n- .data.d'
    )
    assert [cause["field"] for cause in error.details["causes"]] == [".data.a", ".data.b", ".data.d"]


def test_an_owner_through_a_subresource_is_named_with_it():
    live = apply("one", None, deployment({"name": "w", "image": "i"}, replicas=1), DEPLOYMENTS)
    new = copy.deepcopy(live)
    new["spec"]["replicas"] = 5
    ownership.record(writer("hpa", DEPLOYMENTS, "scale"), new, live)
    error = refusal("one", new, deployment({"name": "w", "image": "i"}, replicas=1), DEPLOYMENTS)
    assert 'conflict with "hpa" with subresource "scale" using apps/v1: .spec.replicas' in error.message
    kept = apply("one", new, deployment({"name": "w", "image": "i"}), DEPLOYMENTS)
    assert kept["spec"]["replicas"] == 5


def test_items_of_lists_come_and_go_by_their_keys():
    web, log = {"name": "web", "image": "a"}, {"name": "log", "image": "b"}
    live = apply("one", None, deployment(web), DEPLOYMENTS)
    live = apply("two", live, deployment(log), DEPLOYMENTS)
    assert [each["name"] for each in live["spec"]["template"]["spec"]["containers"]] == ["web", "log"]
    live = apply("one", live, deployment(log | {"ports": [{"containerPort": 80}]}), DEPLOYMENTS)
    (left,) = live["spec"]["template"]["spec"]["containers"]
    assert left["ports"] == [{"containerPort": 80}]
    step = f'{CONTAINERS}[name="log"].ports[containerPort=80,protocol="TCP"]'
    assert step in owners(live)[("one", "Apply")]


def test_a_struct_goes_with_its_last_field():
    probe = {"livenessProbe": {"periodSeconds": 5, "exec": {"command": ["x"]}}}
    live = apply("one", None, deployment({"name": "w"} | probe), DEPLOYMENTS)
    live = apply("one", live, deployment({"name": "w", "livenessProbe": {"periodSeconds": 5}}), DEPLOYMENTS)
    (container,) = live["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"] == {"periodSeconds": 5}
    live = apply("one", live, deployment({"name": "w"}), DEPLOYMENTS)
    (container,) = live["spec"]["template"]["spec"]["containers"]
    assert "livenessProbe" not in container


def test_fields_from_before_the_first_apply_belong_to_somebody():
    live = config_map(a="1")
    assert 'conflict with "before-first-apply" using v1: .data.a' in refusal("m", live, config_map(a="2")).message
    assert owners(apply("m", live, config_map(b="2"))) == {
        ("before-first-apply", "Update"): [".data", ".data.a"],
        ("m", "Apply"): [".data.b"],
    }


def test_status_is_not_applied_through_the_object_itself():
    config = deployment({"name": "w"}) | {"status": {"replicas": 3}}
    assert not any(".status" in path for path in owners(apply("m", None, config, DEPLOYMENTS))[("m", "Apply")])


def test_kubectl_goes_on_from_what_it_applied_without_the_servers_help():
    config = config_map(a="1", b="2")
    text = json.dumps(config)
    live = config | {"metadata": {"name": "c", "annotations": {applying.LAST_APPLIED: text}}}
    ownership.record(writer("kubectl-client-side-apply"), live, None)
    live = update("else", live, data={"a": "1", "b": "other"})
    error = refusal("kubectl", live, config_map(a="x", b="2"))
    assert [cause["field"] for cause in error.details["causes"]] == [".data.b"]
    new = apply("kubectl", live, config_map(a="x"))
    assert new["data"] == {"a": "x", "b": "other"}
    assert json.loads(new["metadata"]["annotations"][applying.LAST_APPLIED]) == config_map(a="x")
    nameless = {"apiVersion": "v1", "kind": "ConfigMap"}
    again = apply("kubectl", new, nameless)
    assert json.loads(again["metadata"]["annotations"][applying.LAST_APPLIED]) == nameless | {"metadata": {}}
    assert 'conflict with "kubectl-client-side-apply"' in refusal("me", live, config_map(a="x")).message


@pytest.mark.parametrize("text", ["", "{", "[]", '{"apiVersion": "v2"}', '{"apiVersion": "v1", "data": 1}'])
def test_an_annotation_without_sense_excuses_nothing(text):
    live = config_map(a="1") | {"metadata": {"name": "c", "annotations": {applying.LAST_APPLIED: text}}}
    assert isinstance(refusal("kubectl", live, config_map(a="x")), Conflict)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "Secret"}, "invalid object type: /v1, Kind=Secret"),
        ({"apiVersion": "apps/v1"}, "invalid object type: apps/v1, Kind=ConfigMap"),
        ({"kind": None}, "invalid object type: /v1, Kind="),
        ({"metadata": {"managedFields": []}}, "metadata.managedFields must be nil"),
    ],
)
def test_configurations_of_another_kind_or_with_entries_are_refused(change, message):
    with pytest.raises(BadRequest) as caught:
        applying.apply(writer("m"), None, config_map() | change)
    assert caught.value.message == message


def test_configurations_that_do_not_fit_the_schema_are_refused_with_paths():
    error = refusal("m", None, config_map(a=1) | {"dada": {}})
    assert isinstance(error, BadRequest)
    assert error.message == (
        "failed to create typed patch object (/c; /v1, Kind=ConfigMap): errors:\n"
        "  .data.a: expected string, got &value.valueUnstructured{Value:1}\n"
        "  .dada: field not declared in schema"
    )


def test_bodies_are_yaml_or_json():
    assert applying.read(b"kind: ConfigMap\n", "Strict") == ({"kind": "ConfigMap"}, [])
    assert applying.read(b'{"kind": "ConfigMap"}', "Strict") == ({"kind": "ConfigMap"}, [])
    for raw in (b"[1]", b"text", b"a: [", b""):
        with pytest.raises(BadRequest, match="error decoding YAML"):
            applying.read(raw, "Warn")


def test_keys_that_stand_twice_are_an_error_a_warning_or_nothing():
    raw = b"data:\n  a: 1\n  a: 2\n"
    problem = 'error converting YAML to JSON: yaml: unmarshal errors:\n  line 3: key "a" already set in map'
    assert applying.read(raw, "Ignore") == ({"data": {"a": 2}}, [])
    assert applying.read(raw, "Warn") == ({"data": {"a": 2}}, [problem])
    with pytest.raises(BadRequest) as caught:
        applying.read(raw, "Strict")
    assert caught.value.message == f"error strict decoding YAML: {problem}"


def test_what_was_applied_in_another_version_goes_too():
    target = {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}
    spec = {"maxReplicas": 5, "minReplicas": 2, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 50}
    old = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}, "spec": spec}
    live = apply("m", None, old, AUTOSCALERS_V1)
    live = conversion.between(AUTOSCALERS_V1, live, AUTOSCALERS) | {"apiVersion": "autoscaling/v2"}
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    spec = {"maxReplicas": 5, "scaleTargetRef": target, "metrics": [{"type": "Resource", "resource": cpu}]}
    new = apply("m", live, old | {"apiVersion": "autoscaling/v2", "spec": spec}, AUTOSCALERS)
    assert new["spec"] == spec
    assert ".spec.minReplicas" not in owners(new)[("m", "Apply")]
    assert [entry["apiVersion"] for entry in new["metadata"]["managedFields"]] == ["autoscaling/v2"]
    bare = {name: value for name, value in spec.items() if name != "metrics"}
    assert "metrics" not in apply("m", live, old | {"apiVersion": "autoscaling/v2", "spec": bare}, AUTOSCALERS)["spec"]


data = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"), max_size=4)
steps = st.tuples(st.sampled_from(["one", "two"]), st.booleans(), data)


@given(st.lists(steps, max_size=8))
def test_the_data_are_what_their_owners_want(history):
    """Against a model: for each key its value and who owns it; nobody's keys are those that an update wrote over."""
    # Somebody always owns something: an object without owners is not kept account of.
    live = apply("zero", None, config_map() | {"metadata": {"name": "c", "labels": {"l": "x"}}})
    values, held = {}, {}
    for manager, applies, wish in history:
        if applies:
            mine = (manager, "Apply")
            live = apply(manager, live, config_map(**wish), force=True)
            for key in [key for key in values if mine in held[key] and key not in wish]:
                held[key].discard(mine)
                if not held[key]:
                    del values[key], held[key]
            for key, value in wish.items():
                held[key] = {mine} | (held[key] if values.get(key) == value else set())
                values[key] = value
        else:
            mine = (manager, "Update")
            live = update(manager, live, data=wish)
            held = {key: held[key] if values.get(key) == value else {mine} for key, value in wish.items()}
            values = dict(wish)
        assert (live.get("data") or {}) == values
        found = {key: {owner for owner, paths in owners(live).items() if f".data.{key}" in paths} for key in values}
        assert found == held


@given(data, data)
def test_managers_of_different_fields_never_conflict(one, two):
    theirs = {f"x{key}": value for key, value in two.items()}
    live = apply("two", apply("one", None, config_map(**one)), config_map(**theirs))
    assert live.get("data", {}) == one | theirs
    assert apply("one", live, config_map()).get("data", {}) == theirs


@given(st.sampled_from(RESOURCES), st.randoms(use_true_random=False))
def test_applying_twice_is_applying_once(resource, chance):
    name = for_resource(resource).name
    config, live = (random_object(random.Random(chance.random()), resource) for _ in range(2))
    config["metadata"] = {"name": "o"}
    assume(not any(shapeproblems.find(name, config)))
    live = typed.read(name, live)[0] | {"kind": resource.kind, "apiVersion": resource.api_version}
    once = apply("m", live, config, resource, force=True)
    assert apply("m", once, config, resource) == once
    # As stored: an empty value within a field that is owned as a whole is another wish than none.
    wish = typed.read(name, config)[0] | {"kind": resource.kind, "apiVersion": resource.api_version}
    assume(not any(shapeproblems.find(name, wish)))
    created = apply("m", None, wish, resource)
    shared = apply("n", created, wish, resource)
    assert {**shared, "metadata": None} == {**created, "metadata": None}
