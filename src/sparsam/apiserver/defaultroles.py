"""The ClusterRoles and ClusterRoleBindings that every cluster has.

Names and rules follow upstream's RBAC documentation ("Default roles and role bindings"). Upstream's roles for single
controllers are left out: the controllers here share one identity, which the authorizer knows.
"""

from __future__ import annotations

from typing import Any

from sparsam.objects.strategy import Obj

GROUP = "rbac.authorization.k8s.io"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_AGGREGATE = f"{GROUP}/aggregate-to-"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_READ = "get list watch"
_WRITE = "create delete deletecollection patch update"
_ALL = "create delete deletecollection get list patch update watch"
_SCALED = "deployments deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale"
_DISCOVERY = "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"
_PUBLIC = "/healthz /livez /readyz /version /version/"


def _rule(verbs: str, group: str, resources: str, names: str = "") -> Obj:
    rule: dict[str, Any] = {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}
    return {**rule, "resourceNames": names.split()} if names else rule


def _paths(verbs: str, paths: str) -> Obj:
    return {"nonResourceURLs": paths.split(), "verbs": verbs.split()}


_EVENTS = _rule("create patch update", "", "events") | {"apiGroups": ["", "events.k8s.io"]}
"""What those who report may do with events, of either group."""

_VIEW = [
    _rule(
        _READ,
        "",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
        "replicationcontrollers/scale serviceaccounts services services/status",
    ),
    _rule(
        _READ,
        "",
        "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
        "resourcequotas resourcequotas/status",
    ),
    _rule(_READ, "", "namespaces"),
    _rule(_READ, "discovery.k8s.io", "endpointslices"),
    _rule(
        _READ,
        "apps",
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets "
        "replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
    ),
    _rule(_READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    _rule(_READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
    _rule(_READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    _rule(_READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
    _rule(_READ, "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
]

_EDIT = [
    _rule(_READ, "", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
    _rule("impersonate", "", "serviceaccounts"),
    _rule(_WRITE, "", "pods pods/attach pods/exec pods/portforward pods/proxy"),
    _rule("create", "", "pods/eviction"),
    _rule(
        _WRITE,
        "",
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
        "serviceaccounts services services/proxy",
    ),
    _rule("create", "", "serviceaccounts/token"),
    _rule(_WRITE, "apps", f"daemonsets {_SCALED}"),
    _rule(_WRITE, "autoscaling", "horizontalpodautoscalers"),
    _rule(_WRITE, "batch", "cronjobs jobs"),
    _rule(_WRITE, "policy", "poddisruptionbudgets"),
    _rule(_WRITE, "networking.k8s.io", "ingresses networkpolicies"),
    _rule(_ALL, "coordination.k8s.io", "leases"),
    _rule(_WRITE, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
]

_ADMIN = [
    _rule("create", "authorization.k8s.io", "localsubjectaccessreviews"),
    _rule(_ALL, GROUP, "rolebindings roles"),
]

_SCHEDULER = [
    _EVENTS,
    _rule("create", "coordination.k8s.io", "leases"),
    _rule("get list update watch", "coordination.k8s.io", "leases", "kube-scheduler"),
    _rule(_READ, "", "nodes"),
    _rule("delete get list watch", "", "pods"),
    _rule("create", "", "bindings pods/binding"),
    _rule("patch update", "", "pods/status"),
    _rule(_READ, "", "replicationcontrollers services namespaces persistentvolumeclaims persistentvolumes"),
    _rule(_READ, "apps", "replicasets statefulsets"),
    _rule(_READ, "policy", "poddisruptionbudgets"),
    _rule(_READ, "storage.k8s.io", "csidrivers csinodes csistoragecapacities"),
    _rule("create", "authentication.k8s.io", "tokenreviews"),
    _rule("create", "authorization.k8s.io", "subjectaccessreviews"),
]

_PROXY = [
    _rule("list watch", "", "services endpoints"),
    _rule("get list watch", "", "nodes"),
    _EVENTS,
    _rule("list watch", "discovery.k8s.io", "endpointslices"),
    _rule("list watch", "networking.k8s.io", "servicecidrs"),
]

_CSR = "certificates.k8s.io"

NODE_RULES = [
    _rule("create", "authentication.k8s.io", "tokenreviews"),
    _rule("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
    _rule(_READ, "", "services"),
    _rule("create get list watch", "", "nodes"),
    _rule("patch update", "", "nodes/status"),
    _rule("patch update", "", "nodes"),
    _EVENTS,
    _rule(_READ, "", "pods"),
    _rule("create delete", "", "pods"),
    _rule("patch update", "", "pods/status"),
    _rule("create", "", "pods/eviction"),
    _rule(_READ, "", "configmaps secrets"),
    _rule("get", "", "persistentvolumeclaims persistentvolumes"),
    _rule("get", "", "endpoints"),
    _rule("create get list watch", _CSR, "certificatesigningrequests"),
    _rule("create delete get patch update", "coordination.k8s.io", "leases"),
    _rule("get", "storage.k8s.io", "volumeattachments"),
    _rule("create", "", "serviceaccounts/token"),
    _rule("get patch update", "", "persistentvolumeclaims/status"),
    _rule(_READ, "storage.k8s.io", "csidrivers"),
    _rule("create delete get patch update", "storage.k8s.io", "csinodes"),
    _rule(_READ, "node.k8s.io", "runtimeclasses"),
    _rule("get", "resource.k8s.io", "resourceclaims"),
    _rule("create delete deletecollection get list patch update watch", "resource.k8s.io", "resourceslices"),
    _rule(_READ, _CSR, "clustertrustbundles"),
]
"""Of a node, as far as they do not depend on which one: the Node authorizer says more about most of them."""

_NETWORK = [
    _rule("list watch", "", "namespaces nodes pods services"),
    _rule("list watch", "discovery.k8s.io", "endpointslices"),
    _rule("list watch", "networking.k8s.io", "networkpolicies"),
]
"""What service proxy, network policies and routes read."""

_NODE_PARTS = [
    # Local volumes and the room for them.
    _rule("list watch", "storage.k8s.io", "storageclasses"),
    _rule("create delete get list patch", "storage.k8s.io", "csistoragecapacities"),
    # What the node draws.
    _rule("create get", "power.sparsam.dev", "nodepowers"),
    _rule("patch", "power.sparsam.dev", "nodepowers/status"),
]
"""What the storage and the meter of a node need."""

_VIEWERS = ["system:authenticated", "system:unauthenticated"]

_ROLES: dict[str, list[Obj]] = {
    "cluster-admin": [_rule("*", "*", "*"), _paths("*", "*")],
    "system:auth-delegator": [
        _rule("create", "authentication.k8s.io", "tokenreviews"),
        _rule("create", "authorization.k8s.io", "subjectaccessreviews"),
    ],
    "system:basic-user": [
        _rule("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
        _rule("create", "authentication.k8s.io", "selfsubjectreviews"),
    ],
    f"system:{_CSR}:certificatesigningrequests:nodeclient": [
        _rule("create", _CSR, "certificatesigningrequests/nodeclient")
    ],
    f"system:{_CSR}:certificatesigningrequests:selfnodeclient": [
        _rule("create", _CSR, "certificatesigningrequests/selfnodeclient")
    ],
    f"system:{_CSR}:kube-apiserver-client-approver": [
        _rule("approve", _CSR, "signers", "kubernetes.io/kube-apiserver-client")
    ],
    f"system:{_CSR}:kube-apiserver-client-kubelet-approver": [
        _rule("approve", _CSR, "signers", "kubernetes.io/kube-apiserver-client-kubelet")
    ],
    f"system:{_CSR}:kubelet-serving-approver": [_rule("approve", _CSR, "signers", "kubernetes.io/kubelet-serving")],
    f"system:{_CSR}:legacy-unknown-approver": [_rule("approve", _CSR, "signers", "kubernetes.io/legacy-unknown")],
    "system:discovery": [_paths("get", _DISCOVERY)],
    "system:kube-dns": [
        _rule("list watch", "", "endpoints services"),
        _rule("list watch", "discovery.k8s.io", "endpointslices"),
    ],
    "system:kube-scheduler": _SCHEDULER,
    "system:node": NODE_RULES,
    "sparsam:node": _NODE_PARTS,
    "sparsam:network": _NETWORK,
    "system:kubelet-api-admin": [
        _rule(_READ, "", "nodes"),
        _rule("proxy", "", "nodes"),
        _rule("*", "", "nodes/log nodes/metrics nodes/proxy nodes/stats"),
    ],
    "system:monitoring": [
        _paths("get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*")
    ],
    "system:node-bootstrapper": [_rule("create get list watch", _CSR, "certificatesigningrequests")],
    "system:node-problem-detector": [
        _rule("get", "", "nodes"),
        _rule("patch", "", "nodes/status"),
        _EVENTS,
    ],
    "system:node-proxier": _PROXY,
    "system:persistent-volume-provisioner": [
        _rule("create delete get list watch", "", "persistentvolumes"),
        _rule("get list update watch", "", "persistentvolumeclaims"),
        _rule(_READ, "storage.k8s.io", "storageclasses"),
        _rule("watch", "", "events"),
        _EVENTS,
    ],
    "system:public-info-viewer": [_paths("get", _PUBLIC)],
    "system:service-account-issuer-discovery": [
        _paths(
            "get",
            "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/",
        )
    ],
    "system:volume-scheduler": [
        _rule("get list patch update watch", "", "persistentvolumes"),
        _rule(_READ, "storage.k8s.io", "storageclasses"),
        _rule("get list patch update watch", "", "persistentvolumeclaims"),
    ],
}
_FED: dict[str, tuple[str, list[Obj]]] = {
    "system:aggregate-to-admin": ("admin", _ADMIN),
    "system:aggregate-to-edit": ("edit", _EDIT),
    "system:aggregate-to-view": ("view", _VIEW),
    "system:aggregated-metrics-reader": ("view", [_rule(_READ, "metrics.k8s.io", "nodes pods")]),
}
"""Roles that others gather: by whom, and the rules."""

_GATHERING = {"admin": "", "edit": "admin", "view": "edit"}
"""Roles that gather those labelled for them, and who gathers them in turn."""

_BOUND: dict[str, list[tuple[str, str]]] = {
    "cluster-admin": [("Group", "system:masters")],
    # A node's process is all of these under one identity; elsewhere a proxy has its own.
    "sparsam:node": [("Group", "system:nodes")],
    "sparsam:network": [("Group", "system:nodes"), ("User", "system:kube-proxy")],
    "system:basic-user": [("Group", "system:authenticated")],
    "system:discovery": [("Group", "system:authenticated")],
    "system:kube-scheduler": [("User", "system:kube-scheduler")],
    "system:monitoring": [("Group", "system:monitoring")],
    # To nobody: the Node authorizer grants it.
    "system:node": [],
    "system:node-proxier": [("User", "system:kube-proxy")],
    "system:public-info-viewer": [("Group", each) for each in _VIEWERS],
    "system:service-account-issuer-discovery": [("Group", "system:serviceaccounts")],
    "system:volume-scheduler": [("User", "system:kube-scheduler")],
}


AUTHENTICATION_CONFIG = "extension-apiserver-authentication"
"""The ConfigMap from which servers of other groups learn whom to believe."""
AUTHENTICATION_READER: Obj = {
    "metadata": {
        "name": f"{AUTHENTICATION_CONFIG}-reader",
        "namespace": "kube-system",
        "labels": dict(_LABELS),
        "annotations": {AUTOUPDATE: "true"},
    },
    "rules": [_rule("get list watch", "", "configmaps", AUTHENTICATION_CONFIG)],
}


def default_roles() -> list[Obj]:
    """All ClusterRoles."""
    plain = [_role(name, rules) for name, rules in _ROLES.items()]
    fed = [_role(name, rules, gatherer) for name, (gatherer, rules) in _FED.items()]
    gathering = []
    for name, gatherer in _GATHERING.items():
        selector = {"matchLabels": {f"{_AGGREGATE}{name}": "true"}}
        gathering.append(
            {**_role(name, None, gatherer), "aggregationRule": {"clusterRoleSelectors": [selector]}, "rules": []}
        )
    return [*plain, *fed, *gathering]


def default_bindings() -> list[Obj]:
    """All ClusterRoleBindings."""
    return [
        {
            "metadata": _metadata(name),
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
            **_subjects(subjects),
        }
        for name, subjects in _BOUND.items()
    ]


def _subjects(subjects: list[tuple[str, str]]) -> Obj:
    found = [{"kind": kind, "apiGroup": GROUP, "name": subject} for kind, subject in subjects]
    return {"subjects": found} if found else {}


def _role(name: str, rules: list[Obj] | None, gatherer: str = "") -> Obj:
    metadata = _metadata(name)
    if gatherer:
        metadata["labels"][f"{_AGGREGATE}{gatherer}"] = "true"
    return {"metadata": metadata, **({} if rules is None else {"rules": rules})}


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name, "labels": dict(_LABELS), "annotations": {AUTOUPDATE: "true"}}
