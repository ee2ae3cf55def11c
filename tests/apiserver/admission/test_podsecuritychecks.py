"""Each check of the Pod Security Standards, with the words that upstream uses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.apiserver.admission.podsecuritychecks import Subject, violations

SAFE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def told(level: str, spec: dict[str, Any], annotations: Any = None, minor: int = 10_000) -> list[str]:
    return [str(each) for each in violations(level, Subject(annotations or {}, spec, minor))]


def pod(context: Any = None, *, own: Any = None, **container: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "a", "securityContext": context or {}, **container}]}
    return spec | ({"securityContext": own} if own else {})


BASELINE = [
    (
        {"containers": [], "hostNetwork": True, "hostPID": True, "hostIPC": True},
        "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
    ),
    (
        pod({"capabilities": {"add": ["SYS_ADMIN", "CHOWN", "NET_RAW"]}}),
        'non-default capabilities (container "a" must not include "NET_RAW", "SYS_ADMIN" in '
        "securityContext.capabilities.add)",
    ),
    (
        {"containers": [], "volumes": [{"name": "v", "hostPath": {}}, {"name": "w", "hostPath": {}}]},
        'hostPath volumes (volumes "v", "w")',
    ),
    (
        pod(ports=[{"hostPort": 9090}, {"hostPort": 8080}, {"containerPort": 1}]),
        'hostPort (container "a" uses hostPorts 8080, 9090)',
    ),
    (
        pod(livenessProbe={"httpGet": {"host": "10.0.0.1"}}),
        'probe or lifecycle host (container "a" uses probe or lifecycle host "10.0.0.1")',
    ),
    (pod({"privileged": True}), 'privileged (container "a" must not set securityContext.privileged=true)'),
    (
        pod({"procMount": "Unmasked"}),
        'procMount (container "a" must not set securityContext.procMount to "Unmasked")',
    ),
    (
        pod({"seLinuxOptions": {"type": "spc_t", "user": "u"}}, own={"seLinuxOptions": {"role": "r"}}),
        'seLinuxOptions (pod and container "a" set forbidden securityContext.seLinuxOptions: type "spc_t"; '
        "user may not be set; role may not be set)",
    ),
    (
        pod(own={"seccompProfile": {"type": "Unconfined"}}),
        'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
    (pod(own={"sysctls": [{"name": "kernel.msgmax"}]}), "forbidden sysctls (kernel.msgmax)"),
    (
        pod({"windowsOptions": {"hostProcess": True}}),
        'hostProcess (container "a" must not set securityContext.windowsOptions.hostProcess=true)',
    ),
    (
        pod({"appArmorProfile": {"type": "Unconfined"}}),
        'forbidden AppArmor profile (container "a" must not set AppArmor profile type to "Unconfined")',
    ),
]


@pytest.mark.parametrize(("spec", "text"), BASELINE, ids=[text.partition(" (")[0] for _, text in BASELINE])
def test_baseline_forbids_what_reaches_the_node(spec, text):
    assert told("baseline", spec) == [text]
    assert told("privileged", spec) == []


def test_an_annotated_profile_is_judged_too():
    name = "container.apparmor.security.beta.kubernetes.io/a"
    (text,) = told("baseline", pod(), {name: "unconfined"})
    assert text == (
        f'forbidden AppArmor profile (annotation must not set AppArmor profile type to "{name}="unconfined"")'
    )
    assert told("baseline", pod(), {name: "runtime/default"}) == []


def test_restricted_wants_everything_stated():
    assert told("restricted", pod()) == [
        'allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false)',
        'unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"])',
        'runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true)',
        'seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost")',
    ]
    assert told("restricted", pod(SAFE)) == []


RESTRICTED = [
    (
        pod(SAFE | {"capabilities": {"drop": ["ALL"], "add": ["CHOWN", "NET_BIND_SERVICE"]}}),
        'unrestricted capabilities (container "a" must not include "CHOWN" in securityContext.capabilities.add)',
    ),
    (
        pod(SAFE) | {"volumes": [{"name": "v", "hostPath": {}}, {"name": "s", "secret": {}}]},
        'restricted volume types (volume "v" uses restricted volume type "hostPath")',
    ),
    (
        pod(SAFE | {"runAsNonRoot": False}, own={"runAsNonRoot": False}),
        'runAsNonRoot != true (pod and container "a" must not set securityContext.runAsNonRoot=false)',
    ),
    (pod(SAFE | {"runAsUser": 0}), 'runAsUser=0 (container "a" must not set runAsUser=0)'),
    (
        pod(SAFE | {"seccompProfile": {"type": "Unconfined"}}),
        'seccompProfile (container "a" must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
]


@pytest.mark.parametrize(("spec", "text"), RESTRICTED, ids=[text.partition(" (")[0] for _, text in RESTRICTED])
def test_restricted_forbids_more(spec, text):
    assert told("restricted", spec) == [text]


def test_what_the_pod_states_holds_for_its_containers():
    own = {"runAsNonRoot": True, "seccompProfile": {"type": "Localhost"}}
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert told("restricted", pod(context, own=own)) == []


def test_older_versions_leave_out_what_came_later():
    assert told("baseline", pod(livenessProbe={"tcpSocket": {"host": "h"}}), minor=33) == []
    sysctl = pod(own={"sysctls": [{"name": "net.ipv4.tcp_rmem"}]})
    assert told("baseline", sysctl) == []
    assert told("baseline", sysctl, minor=31) == ["forbidden sysctls (net.ipv4.tcp_rmem)"]
    assert len(told("restricted", pod(), minor=18)) == 2


def test_windows_and_pods_with_users_of_their_own_are_judged_by_what_applies():
    windows = pod({"runAsNonRoot": True}) | {"os": {"name": "windows"}}
    assert told("restricted", windows) == []
    own_users = pod({**SAFE, "runAsNonRoot": False, "runAsUser": 0, "procMount": "Unmasked"}) | {"hostUsers": False}
    assert told("restricted", own_users) == []


@given(st.lists(st.sampled_from([spec for spec, _ in BASELINE]), max_size=4))
def test_whatever_baseline_forbids_restricted_forbids_too(specs):
    whole: dict[str, Any] = {"containers": []}
    for number, spec in enumerate(specs):
        containers = [each | {"name": f"c{number}"} for each in spec["containers"]]
        whole = {**whole, **spec, "containers": [*whole["containers"], *containers]}
    assert bool(told("restricted", whole)) >= bool(told("baseline", whole))
