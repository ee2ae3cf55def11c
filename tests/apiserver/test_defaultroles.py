"""The default roles hang together."""

from __future__ import annotations

from sparsam.apiserver.defaultroles import default_bindings, default_roles


def test_each_role_is_named_once_and_each_binding_has_its_role():
    names = [each["metadata"]["name"] for each in default_roles()]
    assert len(names) == len(set(names))
    assert {each["roleRef"]["name"] for each in default_bindings()} <= set(names)


def test_who_views_reads_only_and_no_secrets():
    roles = {each["metadata"]["name"]: each for each in default_roles()}
    for rule in roles["system:aggregate-to-view"]["rules"]:
        assert set(rule["verbs"]) <= {"get", "list", "watch"}
        assert "secrets" not in rule["resources"]


def test_admin_gathers_edit_and_edit_gathers_view():
    roles = {each["metadata"]["name"]: each for each in default_roles()}
    for gathered, by in (("view", "edit"), ("edit", "admin"), ("system:aggregate-to-view", "view")):
        (selector,) = roles[by]["aggregationRule"]["clusterRoleSelectors"]
        assert selector["matchLabels"].items() <= roles[gathered]["metadata"]["labels"].items()


def test_who_writes_events_may_write_those_of_both_groups():
    rules = [rule for each in default_roles() for rule in each.get("rules") or ()]
    writing = [rule for rule in rules if rule.get("resources") == ["events"] and "create" in rule["verbs"]]
    assert len(writing) == 41
    assert all(rule["apiGroups"] == ["", "events.k8s.io"] for rule in writing)


def test_each_controller_has_upstreams_role_for_its_account():
    bindings = {each["metadata"]["name"]: each for each in default_bindings()}
    (account,) = bindings["system:controller:job-controller"]["subjects"]
    assert account == {"kind": "ServiceAccount", "name": "job-controller", "namespace": "kube-system"}


def test_nobody_but_administrators_may_make_whatever_they_like():
    for role in default_roles():
        for rule in role.get("rules") or ():
            everything = "*" in rule.get("resources", ()) and {"*", "create", "bind", "impersonate"} & set(
                rule["verbs"]
            )
            assert not everything or role["metadata"]["name"] == "cluster-admin"
