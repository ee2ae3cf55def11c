from sparsam.apiserver.aggregation.apiservices import (
    aggregated_resources,
    backend_of,
    by_priority,
    condition_of,
    identity_headers,
    local_api_service,
)
from sparsam.apiserver.authentication import User
from sparsam.objects.kinds import APISERVICES, RESOURCES
from sparsam.objects.strategies import strategy_for


def api(name="v1.x", group="x", version="v1", priorities=(1000, 10), **spec):
    service = {"namespace": "n", "name": "s", "port": 7443}
    fixed = {"group": group, "version": version, "service": service}
    fixed |= {"groupPriorityMinimum": priorities[0], "versionPriority": priorities[1]}
    return {"metadata": {"name": name}, "spec": {**fixed, **spec}}


def test_a_backend_is_what_a_service_says():
    found = backend_of(api(insecureSkipTLSVerify=True))
    assert (found.server_name, found.port, found.path) == ("s.n.svc", 7443, "/apis/x/v1")
    assert not found.is_verified
    assert not found.available
    conditions = [{"type": "Available", "status": "True"}]
    assert backend_of({**api(), "status": {"conditions": conditions}}).available
    assert backend_of(local_api_service("apps", "v1")) is None
    assert condition_of(api()) == {}


def test_higher_priorities_come_first():
    apis = [
        api("a", "b"),
        api("b", "a"),
        api("c", "z", priorities=(2000, 1)),
        api("d", "a", "v2", priorities=(1000, 20)),
    ]
    found = [(each.group, each.version) for each in by_priority(map(backend_of, apis))]
    assert found == [("z", "v1"), ("a", "v2"), ("a", "v1"), ("b", "v1")]


def test_every_group_of_our_own_makes_a_valid_apiservice():
    strategy = strategy_for(APISERVICES)
    for group, version in {(each.group, each.version) for each in RESOURCES}:
        assert strategy.validate(local_api_service(group, version)) == []


def test_who_asks_is_told_in_headers():
    user = User("jane", ("a", "b"), "7", {"example.com/scope": ("x", "y")})
    assert identity_headers(user) == [
        ("X-Remote-User", "jane"),
        ("X-Remote-Group", "a"),
        ("X-Remote-Group", "b"),
        ("X-Remote-Uid", "7"),
        ("X-Remote-Extra-example.com%2Fscope", "x"),
        ("X-Remote-Extra-example.com%2Fscope", "y"),
    ]


def test_parts_stand_below_their_resources():
    flunders = {"name": "flunders", "kind": "Flunder", "namespaced": True, "verbs": ["get"], "shortNames": ["fl"]}
    status = {"name": "flunders/status", "kind": "Flunder", "verbs": ["patch"]}
    (found,) = aggregated_resources([status, flunders, {"name": "lost/status", "kind": "Lost"}])
    assert (found["resource"], found["scope"], found["shortNames"]) == ("flunders", "Namespaced", ["fl"])
    assert found["subresources"] == [
        {"subresource": "status", "responseKind": {"group": "", "version": "", "kind": "Flunder"}, "verbs": ["patch"]}
    ]
