import copy

from sparsam.apiserver import conversion
from sparsam.objects import fieldsets, ownership
from sparsam.objects.kinds import CONFIGMAPS, DEPLOYMENTS, PODS, find
from sparsam.objects.ownership import Writer, record

THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
AUTOSCALERS_V1, AUTOSCALERS = (find("autoscaling", version, "horizontalpodautoscalers") for version in ("v1", "v2"))


def writer(manager, resource=CONFIGMAPS, subresource="", now=NOW):
    return Writer(manager, resource, now, conversion.between, subresource)


def config_map(**data):
    return {"metadata": {"name": "c"}, "data": data}


def write(who, new, old=None):
    new = copy.deepcopy(new)
    record(who, new, old)
    return new


def owners(obj):
    """Paths of each entry, by manager and subresource."""
    return {
        "/".join(filter(None, (each["manager"], each.get("subresource")))): [
            fieldsets.format_path(path) for path in fieldsets.paths(each["fieldsV1"])
        ]
        for each in obj["metadata"].get("managedFields", [])
    }


def test_who_creates_an_object_owns_all_that_is_said_in_it():
    created = write(writer("a"), config_map(x="1") | {"immutable": True})
    (entry,) = created["metadata"]["managedFields"]
    assert entry == {
        "manager": "a",
        "operation": "Update",
        "apiVersion": "v1",
        "time": NOW,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {".": {}, "f:x": {}}, "f:immutable": {}},
    }


def test_structs_that_are_always_there_are_nobodys():
    pod = {"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"containers": [{"name": "w", "image": "i"}]}}
    assert owners(write(writer("a", PODS), pod | {"status": {"phase": "Running"}})) == {
        "a": [
            ".metadata.labels",
            ".metadata.labels.a",
            '.spec.containers[name="w"]',
            '.spec.containers[name="w"].image',
            '.spec.containers[name="w"].name',
        ]
    }


def test_a_write_takes_what_it_changes_and_what_it_removes_is_nobodys():
    old = write(writer("a", now=THEN), config_map(x="1", y="2", z="3"))
    new = write(writer("b"), config_map(x="1", y="other"), old)
    assert owners(new) == {"a": [".data", ".data.x"], "b": [".data.y"]}
    assert [entry["time"] for entry in new["metadata"]["managedFields"]] == [THEN, NOW]


def test_a_write_that_changes_nothing_leaves_everything_as_it_was():
    old = write(writer("a", now=THEN), config_map(x="1"))
    assert write(writer("b"), config_map(x="1"), old) == old
    assert write(writer("a"), config_map(x="1"), old) == old


def test_entries_of_one_manager_grow_together():
    old = write(writer("a", now=THEN), config_map(x="1"))
    new = write(writer("a"), config_map(x="1", y="2"), old)
    assert owners(new) == {"a": [".data", ".data.x", ".data.y"]}
    assert new["metadata"]["managedFields"][0]["time"] == NOW


def test_the_object_itself_takes_no_account_of_status_and_the_status_none_of_the_rest():
    old = write(writer("a", PODS), {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}, "status": {}})
    wish = {"metadata": {"name": "p"}, "spec": {"nodeName": "m"}, "status": {"phase": "Failed"}}
    assert owners(write(writer("b", PODS), wish, old)) == {"b": [".spec.nodeName"]}
    both = owners(write(writer("b", PODS, "status"), wish, old))
    assert both == {"a": [".spec.nodeName"], "b/status": [".status.phase"]}


def test_some_endpoints_reset_more():
    old = write(writer("a", DEPLOYMENTS), {"metadata": {"name": "d"}, "spec": {"replicas": 1}, "status": {}})
    wish = {"metadata": {"name": "d", "labels": {"x": "y"}}, "spec": {"replicas": 2}, "status": {"replicas": 1}}
    assert owners(write(writer("b", DEPLOYMENTS, "status"), wish, old))["b/status"] == [".status.replicas"]
    assert owners(write(writer("b", DEPLOYMENTS, "scale"), wish, old)) == {"b/scale": [".spec.replicas"]}
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "w", "resources": {"limits": {"cpu": "1"}}}]}}
    old = write(writer("a", PODS), pod)
    pod["spec"]["containers"][0] |= {"image": "new", "resources": {"limits": {"cpu": "2"}}}
    assert owners(write(writer("b", PODS, "resize"), pod, old))["b/resize"] == [
        '.spec.containers[name="w"].resources.limits.cpu'
    ]


def test_objects_of_which_nothing_is_known_stay_so():
    assert owners(write(writer("a"), config_map(x="2"), config_map(x="1"))) == {}


def test_a_client_may_write_entries_itself():
    old = write(writer("a", now=THEN), config_map(x="1"))
    given = {"manager": "m", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "time": THEN}
    given["fieldsV1"] = {"f:data": {"f:x": {}}}
    new = config_map(x="1")
    new["metadata"]["managedFields"] = [given]
    assert write(writer("b"), new, old)["metadata"]["managedFields"] == [given]
    assert owners(write(writer("b", subresource="status"), new, old)) == {"a": [".data", ".data.x"]}


def test_a_client_may_make_the_server_forget():
    old = write(writer("a"), config_map(x="1"))
    new = config_map(x="2")
    new["metadata"]["managedFields"] = [{}]
    assert "managedFields" not in write(writer("b"), new, old)["metadata"]
    assert owners(write(writer("b"), new)) == {"b": [".data", ".data.x"]}


def test_entries_without_sense_change_nothing():
    old = write(writer("a"), config_map(x="1"))
    sound = {"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}}
    for change in (
        {"operation": "Create"},
        {"apiVersion": ""},
        {"fieldsType": "FieldsV2"},
        {"fieldsV1": {"x": 1}},
        {"manager": "m" * 129},
    ):
        new = config_map(x="1")
        new["metadata"]["managedFields"] = [sound | change]
        assert write(writer("b"), new, old) == old, change


def test_of_more_than_ten_updaters_the_oldest_are_thrown_together():
    obj = write(writer("m00", now="2026-01-01T00:00:00Z"), config_map(k00="x"))
    for number in range(1, 13):
        data = obj["data"] | {f"k{number:02}": "x"}
        obj = write(writer(f"m{number:02}", now=f"2026-01-01T00:00:{number:02}Z"), config_map(**data), obj)
    entries = obj["metadata"]["managedFields"]
    assert [each["manager"] for each in entries] == ["ancient-changes", *(f"m{number:02}" for number in range(4, 13))]
    assert owners(obj)["ancient-changes"] == [".data", *(f".data.k{number:02}" for number in range(4))]
    assert entries[0]["time"] == "2026-01-01T00:00:03Z"


def test_entries_of_another_version_follow_the_change_by_their_own_names():
    spec = {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}
    old = {"kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v1", "metadata": {"name": "h"}}
    old = write(writer("old", AUTOSCALERS_V1), old | {"spec": spec | {"targetCPUUtilizationPercentage": 50}})
    assert ".spec.targetCPUUtilizationPercentage" in owners(old)["old"]
    stored = conversion.between(AUTOSCALERS_V1, old, AUTOSCALERS) | {"apiVersion": "autoscaling/v2"}
    new = copy.deepcopy(stored)
    new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] = 70
    new = write(writer("new", AUTOSCALERS), new, stored)
    assert ".spec.targetCPUUtilizationPercentage" not in owners(new)["old"]
    assert owners(new)["new"] == [".spec.metrics"]


def test_entries_of_a_version_that_is_gone_go_too():
    old = write(writer("a"), config_map(x="1"))
    old["metadata"]["managedFields"][0]["apiVersion"] = "v0"
    assert owners(write(writer("b"), config_map(x="1", y="2"), old)) == {"b": [".data.y"]}


def test_times_alone_are_no_change():
    old = write(writer("a", now=THEN), config_map(x="1"))
    new = write(writer("a"), config_map(x="1"))
    ownership.settle(new, old)
    assert new == old
    other = write(writer("a"), config_map(x="2"))
    ownership.settle(other, old)
    assert other["metadata"]["managedFields"][0]["time"] == NOW
