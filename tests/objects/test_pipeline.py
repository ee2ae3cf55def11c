import pytest
from hypothesis import given

from sparsam.errors import Forbidden, Invalid, StatusError
from sparsam.objects import pipeline
from sparsam.objects.kinds import CONFIGMAPS, DEPLOYMENTS, NODES, PODS, REPLICASETS, SERVICES, find
from tests.support.objects import NOW, body, context, decode, json_objects


def created(resource=CONFIGMAPS, obj=None, **changes):
    wished, _ = decode(resource, obj or {"metadata": {"name": "c"}, "data": {"a": "1"}})
    return pipeline.create(resource, wished, context(**changes))[0]


def stored(obj, version="5"):
    return obj | {"metadata": obj["metadata"] | {"resourceVersion": version}}


def test_a_created_object_has_name_namespace_uid_and_time():
    meta = created()["metadata"]
    assert meta == {"name": "c", "namespace": "t", "uid": "uid-1", "creationTimestamp": NOW}


def test_what_only_the_system_decides_is_not_taken_from_the_client():
    obj = {"metadata": {"name": "c", "uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7}}
    obj["metadata"] |= {"deletionTimestamp": NOW, "deletionGracePeriodSeconds": 3, "managedFields": [{"manager": "m"}]}
    assert created(obj=obj)["metadata"] == {"name": "c", "namespace": "t", "uid": "uid-1", "creationTimestamp": NOW}


def test_a_generated_name_is_prefix_and_suffix():
    assert created(obj={"metadata": {"generateName": "web-"}})["metadata"]["name"] == "web-x7k2p"
    long = created(obj={"metadata": {"generateName": "w" * 80}})["metadata"]["name"]
    assert len(long) == 63


@pytest.mark.parametrize(
    ("metadata", "field", "reason"),
    [
        ({}, "metadata.name", "FieldValueRequired"),
        ({"name": "UPPER"}, "metadata.name", "FieldValueInvalid"),
        ({"name": "k", "labels": {"a": "b c"}}, "metadata.labels", "FieldValueInvalid"),
        ({"name": "k", "annotations": {"A B": "c"}}, "metadata.annotations", "FieldValueInvalid"),
        ({"name": "k", "finalizers": ["bad"]}, "metadata.finalizers[0]", "FieldValueInvalid"),
        (
            {"name": "k", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]},
            "metadata.ownerReferences.uid",
            "FieldValueInvalid",
        ),
    ],
)
def test_metadata_against_the_rules_is_invalid(metadata, field, reason):
    with pytest.raises(Invalid) as caught:
        created(obj={"metadata": metadata})
    (cause,) = caught.value.details["causes"]
    assert (cause["field"], cause["reason"]) == (field, reason)


def test_two_controlling_owners_are_refused():
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}
    with pytest.raises(Invalid, match="Only one reference can have Controller set to true"):
        created(obj={"metadata": {"name": "k", "ownerReferences": [owner, owner | {"name": "q"}]}})


def test_a_cluster_scoped_object_has_no_namespace():
    with pytest.raises(Invalid, match="Forbidden: not allowed on this type"):
        created(NODES, {"metadata": {"name": "n", "namespace": "t"}}, namespace="")


def test_admission_sees_the_defaulted_object_and_may_refuse():
    def refuse(_new, _old):
        raise Forbidden("no")

    with pytest.raises(Forbidden):
        created(admit=refuse)


def test_lists_that_go_always_writes_are_null():
    roles = find("rbac.authorization.k8s.io", "v1", "roles")
    assert created(roles, {"metadata": {"name": "r"}})["rules"] is None


def test_an_update_keeps_identity():
    old = stored(created())
    new, _ = decode(
        CONFIGMAPS, {"metadata": {"name": "c", "creationTimestamp": "2001-01-01T00:00:00Z"}, "data": {"a": "2"}}
    )
    updated, _ = pipeline.update(CONFIGMAPS, new, old, context(uid="other", now="2027-01-01T00:00:00Z"))
    assert updated["metadata"] == {"name": "c", "namespace": "t", "uid": "uid-1", "creationTimestamp": NOW}
    assert updated["data"] == {"a": "2"}


def test_an_update_may_not_change_the_uid():
    old = stored(created())
    with pytest.raises(Invalid, match='Invalid value: "other": field is immutable'):
        pipeline.update(CONFIGMAPS, old | {"metadata": old["metadata"] | {"uid": "other"}}, old, context())


def test_a_deleted_object_takes_no_new_finalizers_and_stays_deleted():
    old = stored(created(obj={"metadata": {"name": "c", "finalizers": ["a/a"]}}))
    old["metadata"] |= {"deletionTimestamp": NOW, "deletionGracePeriodSeconds": 0}
    new, _ = decode(CONFIGMAPS, {"metadata": {"name": "c", "finalizers": ["a/a", "b/b"]}})
    with pytest.raises(Invalid) as caught:
        pipeline.update(CONFIGMAPS, new, old, context())
    assert 'found new finalizers []string{"b/b"}' in caught.value.message
    # Upstream lists the cause twice: once for the registry and once for the kind.
    assert len(caught.value.details["causes"]) == 2
    new, _ = decode(CONFIGMAPS, {"metadata": {"name": "c"}})
    updated, _ = pipeline.update(CONFIGMAPS, new, old, context())
    assert updated["metadata"]["deletionTimestamp"] == NOW


POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def test_an_update_of_the_status_changes_nothing_else_and_one_of_the_object_leaves_the_status():
    resource = find("policy", "v1", "poddisruptionbudgets")
    old = stored(created(resource, {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {}}}))
    wished = {"metadata": {"name": "b"}, "spec": {"minAvailable": 3}, "status": {"currentHealthy": 2}}
    new, _ = decode(resource, wished)
    updated, _ = pipeline.update(resource, new, old, context(), subresource="status")
    assert (updated["spec"], updated["status"]["currentHealthy"]) == (old["spec"], 2)
    new, _ = decode(resource, {"metadata": {"name": "b"}, "spec": old["spec"], "status": {"currentHealthy": 2}})
    updated, _ = pipeline.update(resource, new, old, context())
    assert updated["status"] == old["status"]


def test_a_patch_is_applied_and_read_again():
    old = stored(created())
    new, warnings = pipeline.apply_patch(CONFIGMAPS, old, "merge", b'{"data":{"b":"2"},"x":1}', context())
    assert new["data"] == {"a": "1", "b": "2"}
    assert warnings == ['unknown field "x"']
    assert new["metadata"]["resourceVersion"] == "5"


@pytest.mark.parametrize("resource", [PODS, DEPLOYMENTS, REPLICASETS, SERVICES, NODES], ids=lambda each: each.plural)
@given(obj=json_objects)
def test_any_object_is_created_or_refused(resource, obj):
    value = {"metadata": {"name": "a"}, "spec": obj}
    try:
        wished, _ = pipeline.decode(resource, body(value), "application/json", context())
        pipeline.create(resource, wished, context(namespace="t" if resource.namespaced else ""))
    except StatusError as error:
        assert error.code in (400, 422)


def stored_pod():
    spec = {
        "containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}}],
        "serviceAccountName": "default",
    }
    return stored(created(PODS, {"metadata": {"name": "p"}, "spec": spec}))


def test_debugging_containers_are_added_and_nothing_else_changes():
    old = stored_pod()
    wished = {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "z", "image": "z"}], "ephemeralContainers": []},
    }
    wished["spec"]["ephemeralContainers"] = [{"name": "debug", "image": "i"}]
    new, _ = decode(PODS, wished)
    updated, _ = pipeline.update(PODS, new, old, context(), subresource="ephemeralcontainers")
    assert [each["name"] for each in updated["spec"]["ephemeralContainers"]] == ["debug"]
    assert updated["spec"]["containers"] == old["spec"]["containers"]


def test_a_resize_changes_resources_alone():
    old = stored_pod()
    resources = {"limits": {"cpu": "2"}, "requests": {"cpu": "2"}}
    new, _ = decode(
        PODS, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "z", "resources": resources}]}}
    )
    updated, _ = pipeline.update(PODS, new, old, context(), subresource="resize")
    (container,) = updated["spec"]["containers"]
    assert (container["image"], container["resources"]) == ("i", resources)
