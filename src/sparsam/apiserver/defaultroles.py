"""The ClusterRoles and ClusterRoleBindings that every cluster has.

Names and rules follow upstream's RBAC documentation ("Default roles and role bindings").
"""

from __future__ import annotations

from typing import Any

from sparsam.apiserver.controllerroles import CONTROLLER_ROLES, PROCESS_RULES
from sparsam.apiserver.rolerules import EVENTS, EVERY_VERB, READ, WRITE, paths, rule
from sparsam.objects.strategy import Obj

GROUP = "rbac.authorization.k8s.io"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_AGGREGATE = f"{GROUP}/aggregate-to-"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_SCALED = "deployments deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale"
_DISCOVERY = "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"
_PUBLIC = "/healthz /livez /readyz /version /version/"


_VIEW = [
    rule(
        READ,
        "",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
        "replicationcontrollers/scale serviceaccounts services services/status",
    ),
    rule(
        READ,
        "",
        "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
        "resourcequotas resourcequotas/status",
    ),
    rule(READ, "", "namespaces"),
    rule(READ, "discovery.k8s.io", "endpointslices"),
    rule(
        READ,
        "apps",
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets "
        "replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
    ),
    rule(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    rule(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
    rule(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    rule(READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
    rule(READ, "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
]

_EDIT = [
    rule(READ, "", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
    rule("impersonate", "", "serviceaccounts"),
    rule(WRITE, "", "pods pods/attach pods/exec pods/portforward pods/proxy"),
    rule("create", "", "pods/eviction"),
    rule(
        WRITE,
        "",
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
        "serviceaccounts services services/proxy",
    ),
    rule("create", "", "serviceaccounts/token"),
    rule(WRITE, "apps", f"daemonsets {_SCALED}"),
    rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
    rule(WRITE, "batch", "cronjobs jobs"),
    rule(WRITE, "policy", "poddisruptionbudgets"),
    rule(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
    rule(EVERY_VERB, "coordination.k8s.io", "leases"),
    rule(WRITE, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
]

_ADMIN = [
    rule("create", "authorization.k8s.io", "localsubjectaccessreviews"),
    rule(EVERY_VERB, GROUP, "rolebindings roles"),
]

_SCHEDULER = [
    EVENTS,
    rule("create", "coordination.k8s.io", "leases"),
    rule("get list update watch", "coordination.k8s.io", "leases", "kube-scheduler"),
    rule(READ, "", "nodes"),
    rule("delete get list watch", "", "pods"),
    rule("create", "", "bindings pods/binding"),
    rule("patch update", "", "pods/status"),
    rule(READ, "", "replicationcontrollers services namespaces persistentvolumeclaims persistentvolumes"),
    rule(READ, "apps", "replicasets statefulsets"),
    rule(READ, "policy", "poddisruptionbudgets"),
    rule(READ, "storage.k8s.io", "csidrivers csinodes csistoragecapacities"),
    rule("create", "authentication.k8s.io", "tokenreviews"),
    rule("create", "authorization.k8s.io", "subjectaccessreviews"),
]

_PROXY = [
    rule("list watch", "", "services endpoints"),
    rule("get list watch", "", "nodes"),
    EVENTS,
    rule("list watch", "discovery.k8s.io", "endpointslices"),
    rule("list watch", "networking.k8s.io", "servicecidrs"),
]

_CSR = "certificates.k8s.io"

NODE_RULES = [
    rule("create", "authentication.k8s.io", "tokenreviews"),
    rule("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
    rule(READ, "", "services"),
    rule("create get list watch", "", "nodes"),
    rule("patch update", "", "nodes/status"),
    rule("patch update", "", "nodes"),
    EVENTS,
    rule(READ, "", "pods"),
    rule("create delete", "", "pods"),
    rule("patch update", "", "pods/status"),
    rule("create", "", "pods/eviction"),
    rule(READ, "", "configmaps secrets"),
    rule("get", "", "persistentvolumeclaims persistentvolumes"),
    rule("get", "", "endpoints"),
    rule("create get list watch", _CSR, "certificatesigningrequests"),
    rule("create delete get patch update", "coordination.k8s.io", "leases"),
    rule("get", "storage.k8s.io", "volumeattachments"),
    rule("create", "", "serviceaccounts/token"),
    rule("get patch update", "", "persistentvolumeclaims/status"),
    rule(READ, "storage.k8s.io", "csidrivers"),
    rule("create delete get patch update", "storage.k8s.io", "csinodes"),
    rule(READ, "node.k8s.io", "runtimeclasses"),
    rule("get", "resource.k8s.io", "resourceclaims"),
    rule("create delete deletecollection get list patch update watch", "resource.k8s.io", "resourceslices"),
    rule(READ, _CSR, "clustertrustbundles"),
]
"""Of a node, as far as they do not depend on which one: the Node authorizer says more about most of them."""

_NETWORK = [
    rule("list watch", "", "namespaces nodes pods services"),
    rule("list watch", "discovery.k8s.io", "endpointslices"),
    rule("list watch", "networking.k8s.io", "networkpolicies"),
]
"""What service proxy, network policies and routes read."""

_NODE_PARTS = [
    # Local volumes and the room for them.
    rule("list watch", "storage.k8s.io", "storageclasses"),
    rule("create delete get list patch", "storage.k8s.io", "csistoragecapacities"),
    # What the node draws.
    rule("create get", "power.sparsam.dev", "nodepowers"),
    rule("patch", "power.sparsam.dev", "nodepowers/status"),
]
"""What the storage and the meter of a node need."""

_MANAGER = [
    EVENTS,
    rule("create", "coordination.k8s.io", "leases"),
    rule("get list update watch", "coordination.k8s.io", "leases", "kube-controller-manager"),
    rule("create", "", "secrets serviceaccounts"),
    rule("delete", "", "secrets"),
    rule("get", "", "configmaps namespaces secrets serviceaccounts"),
    rule("update", "", "secrets serviceaccounts"),
    rule("create", "authentication.k8s.io", "tokenreviews"),
    rule("create", "authorization.k8s.io", "subjectaccessreviews"),
    rule("list watch", "*", "*"),
    rule("create", "", "serviceaccounts/token"),
]

_VIEWERS = ["system:authenticated", "system:unauthenticated"]

_ROLES: dict[str, list[Obj]] = {
    "cluster-admin": [rule("*", "*", "*"), paths("*", "*")],
    "system:auth-delegator": [
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
    ],
    "system:basic-user": [
        rule("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
        rule("create", "authentication.k8s.io", "selfsubjectreviews"),
    ],
    f"system:{_CSR}:certificatesigningrequests:nodeclient": [
        rule("create", _CSR, "certificatesigningrequests/nodeclient")
    ],
    f"system:{_CSR}:certificatesigningrequests:selfnodeclient": [
        rule("create", _CSR, "certificatesigningrequests/selfnodeclient")
    ],
    f"system:{_CSR}:kube-apiserver-client-approver": [
        rule("approve", _CSR, "signers", "kubernetes.io/kube-apiserver-client")
    ],
    f"system:{_CSR}:kube-apiserver-client-kubelet-approver": [
        rule("approve", _CSR, "signers", "kubernetes.io/kube-apiserver-client-kubelet")
    ],
    f"system:{_CSR}:kubelet-serving-approver": [rule("approve", _CSR, "signers", "kubernetes.io/kubelet-serving")],
    f"system:{_CSR}:legacy-unknown-approver": [rule("approve", _CSR, "signers", "kubernetes.io/legacy-unknown")],
    "system:discovery": [paths("get", _DISCOVERY)],
    "system:kube-dns": [
        rule("list watch", "", "endpoints services"),
        rule("list watch", "discovery.k8s.io", "endpointslices"),
    ],
    "system:heapster": [
        rule(READ, "", "events namespaces nodes pods"),
        rule(READ, "extensions", "deployments"),
    ],
    "system:kube-aggregator": [rule(READ, "", "endpoints services")],
    "system:kube-controller-manager": _MANAGER,
    "sparsam:controllers": PROCESS_RULES,
    "system:kube-scheduler": _SCHEDULER,
    "sparsam:scheduler": [rule("list watch", "power.sparsam.dev", "nodepowers powerpolicies")],
    "system:node": NODE_RULES,
    "sparsam:node": _NODE_PARTS,
    "sparsam:network": _NETWORK,
    "system:kubelet-api-admin": [
        rule(READ, "", "nodes"),
        rule("proxy", "", "nodes"),
        rule("*", "", "nodes/log nodes/metrics nodes/proxy nodes/stats"),
    ],
    "system:monitoring": [paths("get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*")],
    "system:node-bootstrapper": [rule("create get list watch", _CSR, "certificatesigningrequests")],
    "system:node-problem-detector": [
        rule("get", "", "nodes"),
        rule("patch", "", "nodes/status"),
        EVENTS,
    ],
    "system:node-proxier": _PROXY,
    "system:persistent-volume-provisioner": [
        rule("create delete get list watch", "", "persistentvolumes"),
        rule("get list update watch", "", "persistentvolumeclaims"),
        rule(READ, "storage.k8s.io", "storageclasses"),
        rule("watch", "", "events"),
        EVENTS,
    ],
    "system:public-info-viewer": [paths("get", _PUBLIC)],
    "system:service-account-issuer-discovery": [
        paths(
            "get",
            "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/",
        )
    ],
    "system:volume-scheduler": [
        rule("get list patch update watch", "", "persistentvolumes"),
        rule(READ, "storage.k8s.io", "storageclasses"),
        rule("get list patch update watch", "", "persistentvolumeclaims"),
    ],
}
_FED: dict[str, tuple[str, list[Obj]]] = {
    "system:aggregate-to-admin": ("admin", _ADMIN),
    "system:aggregate-to-edit": ("edit", _EDIT),
    "system:aggregate-to-view": ("view", _VIEW),
    "system:aggregated-metrics-reader": ("view", [rule(READ, "metrics.k8s.io", "nodes pods")]),
}
"""Roles that others gather: by whom, and the rules."""

_GATHERING = {"admin": "", "edit": "admin", "view": "edit"}
"""Roles that gather those labelled for them, and who gathers them in turn."""

_CONTROLLERS, _SCHEDULER_USER = ("User", "system:kube-controller-manager"), ("User", "system:kube-scheduler")

_BOUND: dict[str, list[tuple[str, str]]] = {
    "cluster-admin": [("Group", "system:masters")],
    # A node's process is all of these under one identity; elsewhere a proxy has its own.
    "sparsam:node": [("Group", "system:nodes")],
    "sparsam:network": [("Group", "system:nodes"), ("User", "system:kube-proxy")],
    "system:basic-user": [("Group", "system:authenticated")],
    "system:discovery": [("Group", "system:authenticated")],
    "system:kube-controller-manager": [_CONTROLLERS],
    "sparsam:controllers": [_CONTROLLERS],
    "system:kube-dns": [("ServiceAccount", "kube-dns")],
    "system:kube-scheduler": [_SCHEDULER_USER],
    "sparsam:scheduler": [_SCHEDULER_USER],
    "system:monitoring": [("Group", "system:monitoring")],
    # To nobody: the Node authorizer grants it.
    "system:node": [],
    "system:node-proxier": [("User", "system:kube-proxy")],
    "system:public-info-viewer": [("Group", each) for each in _VIEWERS],
    "system:service-account-issuer-discovery": [("Group", "system:serviceaccounts")],
    "system:volume-scheduler": [_SCHEDULER_USER],
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
    "rules": [rule("get list watch", "", "configmaps", AUTHENTICATION_CONFIG)],
}


def default_roles() -> list[Obj]:
    """All ClusterRoles."""
    plain = [_role(name, rules) for name, rules in (_ROLES | CONTROLLER_ROLES).items()]
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
    accounts = {name: [("ServiceAccount", name.rpartition(":")[2])] for name in CONTROLLER_ROLES}
    return [
        {
            "metadata": _metadata(name),
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
            **({"subjects": [_subject(*each) for each in subjects]} if subjects else {}),
        }
        for name, subjects in (_BOUND | accounts).items()
    ]


def _subject(kind: str, name: str) -> Obj:
    """Service accounts are those of kube-system."""
    where = {"namespace": "kube-system"} if kind == "ServiceAccount" else {"apiGroup": GROUP}
    return {"kind": kind, "name": name, **where}


def _role(name: str, rules: list[Obj] | None, gatherer: str = "") -> Obj:
    metadata = _metadata(name)
    if gatherer:
        metadata["labels"][f"{_AGGREGATE}{gatherer}"] = "true"
    return {"metadata": metadata, **({} if rules is None else {"rules": rules})}


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name, "labels": dict(_LABELS), "annotations": {AUTOUPDATE: "true"}}
