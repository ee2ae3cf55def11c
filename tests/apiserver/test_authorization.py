import pytest

from sparsam.apiserver.authentication import ANONYMOUS, authenticated
from sparsam.apiserver.authorization import Action, ComponentAuthorizer, asked_value, denial, require
from sparsam.errors import Forbidden, Unauthorized

LIST_PODS = Action(verb="list", version="v1", resource="pods", namespace="d")


def test_administrators_may_do_everything():
    assert ComponentAuthorizer().allows(authenticated("anybody", ("system:masters",)), LIST_PODS)


@pytest.mark.parametrize("name", ["system:kube-controller-manager", "system:kube-scheduler", "system:apiserver"])
def test_no_name_alone_gives_rights(name):
    assert not ComponentAuthorizer().allows(authenticated(name, ()), LIST_PODS)


def test_others_are_told_what_they_may_not_do_in_upstream_words():
    user = authenticated("x", ("g",))
    assert not ComponentAuthorizer().allows(user, LIST_PODS)
    error = denial(user, LIST_PODS)
    assert error.code == 403
    assert (
        error.message == 'pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "d"'
    )


def test_a_denial_names_the_object_the_subresource_and_the_group():
    action = Action(
        verb="update", group="apps", version="v1", resource="deployments", subresource="scale", namespace="d", name="w"
    )
    assert denial(authenticated("x", ()), action).message == (
        'deployments.apps "w" is forbidden: User "x" cannot update resource "deployments/scale" in API group "apps" in the namespace "d"'
    )


def test_a_cluster_scoped_denial_says_so():
    action = Action(verb="get", version="v1", resource="nodes", name="n")
    assert denial(authenticated("x", ()), action).message.endswith("at the cluster scope")


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/readyz/ping", "/version"])
def test_health_and_version_are_open_to_all(path):
    assert ComponentAuthorizer().allows(ANONYMOUS, Action(verb="get", path=path))


@pytest.mark.parametrize("action", [LIST_PODS, Action(verb="get", path="/api"), Action(verb="get", path="/")])
def test_the_unknown_are_asked_for_credentials(action):
    assert not ComponentAuthorizer().allows(ANONYMOUS, action)
    assert denial(ANONYMOUS, action).code == 401


def test_every_known_user_may_ask_who_it_is_and_what_is_served():
    user = authenticated("x", ())
    authorizer = ComponentAuthorizer()
    assert authorizer.allows(
        user, Action(verb="create", group="authentication.k8s.io", version="v1", resource="selfsubjectreviews")
    )
    assert authorizer.allows(user, Action(verb="get", path="/apis/apps/v1"))
    assert not authorizer.allows(user, Action(verb="post", path="/apis"))


@pytest.mark.parametrize(
    ("selector", "value"),
    [
        ("metadata.name=a", "a"),
        ("status.phase!=Failed, metadata.name==a", "a"),
        ("metadata.name!=a", ""),
        ("xmetadata.name=a", ""),
        ("metadata.name", ""),
        ("", ""),
    ],
)
def test_a_selector_asks_for_one_value_or_for_none_in_particular(selector, value):
    assert asked_value(selector, "metadata.name") == value


class Refusing:
    """Refuses everything, for a reason."""

    def allows(self, _user, _action):
        return False

    def why_not(self, _user, _action):
        return "because"

    def rules(self, _user, _namespace):
        return []


def test_a_refusal_tells_its_reason():
    with pytest.raises(Forbidden) as refused:
        require(Refusing(), authenticated("x", ()), LIST_PODS)
    assert refused.value.message == (
        'pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "d": because'
    )
    with pytest.raises(Unauthorized):
        require(Refusing(), ANONYMOUS, LIST_PODS)
