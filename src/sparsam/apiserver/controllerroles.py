"""The ClusterRole of each controller, by upstream's names and with its rules, and that of the process that runs ours.

Source: upstream's bootstrap policy, as it shows in a cluster of version 1.32; for later controllers by what they do.
"""

from __future__ import annotations

from sparsam.apiserver.rolerules import EVENTS, READ, rule
from sparsam.objects.strategy import Obj

_CSR = "certificates.k8s.io"
_SIGNED = ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving", "legacy-unknown")
_KEEP = "create delete get list patch update watch"
_PODS_MADE = rule("create delete list patch watch", "", "pods")
_REVISIONS = rule(_KEEP, "apps", "controllerrevisions")


def _old(found: Obj) -> Obj:
    """The same in the group that workloads were in before, too."""
    return {**found, "apiGroups": ["apps", "extensions"]}


def _own(group: str, plural: str, verbs: str) -> list[Obj]:
    """What a controller does with the kind that it is for."""
    return [
        rule(verbs, group, plural),
        *(rule("update", group, f"{plural}/{each}") for each in ("status", "finalizers")),
    ]


def _own_old(plural: str, verbs: str) -> list[Obj]:
    return [_old(each) for each in _own("apps", plural, verbs)]


_UPDATED = "get list update watch"

_RULES: dict[str, list[Obj]] = {
    "attachdetach-controller": [
        rule("list watch", "", "persistentvolumeclaims persistentvolumes"),
        rule(READ, "", "nodes"),
        rule("patch update", "", "nodes/status"),
        rule("list watch", "", "pods"),
        EVENTS,
        rule("create delete get list watch", "storage.k8s.io", "volumeattachments"),
        rule(READ, "storage.k8s.io", "csidrivers"),
        rule(READ, "storage.k8s.io", "csinodes"),
    ],
    "certificate-controller": [
        rule("delete get list watch", _CSR, "certificatesigningrequests"),
        rule("update", _CSR, "certificatesigningrequests/approval certificatesigningrequests/status"),
        rule("approve", _CSR, "signers", "kubernetes.io/kube-apiserver-client-kubelet"),
        rule("sign", _CSR, "signers", " ".join(f"kubernetes.io/{each}" for each in _SIGNED)),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        EVENTS,
    ],
    "clusterrole-aggregation-controller": [
        rule("escalate get list patch update watch", "rbac.authorization.k8s.io", "clusterroles")
    ],
    "cronjob-controller": [
        *_own("batch", "cronjobs", _UPDATED),
        rule(_KEEP, "batch", "jobs"),
        rule("delete list", "", "pods"),
        EVENTS,
    ],
    "daemon-set-controller": [
        *_own_old("daemonsets", READ),
        rule("list watch", "", "nodes"),
        _PODS_MADE,
        rule("create", "", "pods/binding"),
        _REVISIONS,
        EVENTS,
    ],
    "deployment-controller": [
        *_own_old("deployments", _UPDATED),
        _old(rule(_KEEP, "apps", "replicasets")),
        rule(_UPDATED, "", "pods"),
        EVENTS,
    ],
    "device-taint-eviction-controller": [
        rule("delete get list patch update watch", "", "pods"),
        rule("patch update", "", "pods/status"),
        rule(READ, "resource.k8s.io", "devicetaintrules resourceclaims resourceslices"),
        EVENTS,
    ],
    "disruption-controller": [
        _old(rule(READ, "apps", "deployments")),
        _old(rule(READ, "apps", "replicasets")),
        rule(READ, "", "replicationcontrollers"),
        rule(READ, "policy", "poddisruptionbudgets"),
        rule(READ, "apps", "statefulsets"),
        rule("update", "policy", "poddisruptionbudgets/status"),
        rule("patch update", "", "pods/status"),
        rule("get", "*", "*/scale"),
        EVENTS,
    ],
    "endpoint-controller": [
        rule(READ, "", "pods services"),
        rule("create delete get list update", "", "endpoints"),
        rule("create", "", "endpoints/restricted"),
        EVENTS,
    ],
    "endpointslice-controller": [
        rule(READ, "", "nodes pods services"),
        rule("update", "", "services/finalizers"),
        rule("create delete get list update", "discovery.k8s.io", "endpointslices"),
        EVENTS,
    ],
    "endpointslicemirroring-controller": [
        rule(READ, "", "endpoints services"),
        rule("update", "", "services/finalizers"),
        rule("update", "", "endpoints/finalizers"),
        rule("create delete get list update", "discovery.k8s.io", "endpointslices"),
        EVENTS,
    ],
    "ephemeral-volume-controller": [
        rule(READ, "", "pods"),
        rule("update", "", "pods/finalizers"),
        rule("create get list watch", "", "persistentvolumeclaims"),
        EVENTS,
    ],
    "expand-controller": [
        rule("get list patch update watch", "", "persistentvolumes"),
        rule("patch update", "", "persistentvolumeclaims/status"),
        rule(READ, "", "persistentvolumeclaims"),
        EVENTS,
        rule("get", "", "services"),
    ],
    "generic-garbage-collector": [rule("delete get list patch update watch", "*", "*"), EVENTS],
    "horizontal-pod-autoscaler": [
        rule(READ, "autoscaling", "horizontalpodautoscalers"),
        rule("update", "autoscaling", "horizontalpodautoscalers/status"),
        rule("get update", "*", "*/scale"),
        rule("list", "", "pods"),
        rule("list", "metrics.k8s.io", "pods"),
        rule("get list", "custom.metrics.k8s.io", "*"),
        rule("get list", "external.metrics.k8s.io", "*"),
        EVENTS,
    ],
    "job-controller": [
        *_own("batch", "jobs", "get list patch update watch"),
        _PODS_MADE,
        EVENTS,
    ],
    "legacy-service-account-token-cleaner": [
        rule("get", "", "configmaps", "kube-apiserver-legacy-service-account-token-tracking"),
        rule("delete patch", "", "secrets"),
    ],
    "namespace-controller": [
        rule("delete get list watch", "", "namespaces"),
        rule("update", "", "namespaces/finalize namespaces/status"),
        rule("delete deletecollection get list", "*", "*"),
    ],
    "node-controller": [
        rule("delete get list patch update", "", "nodes"),
        rule("patch update", "", "nodes/status"),
        rule("patch update", "", "pods/status"),
        rule("delete get list", "", "pods"),
        EVENTS,
    ],
    "persistent-volume-binder": [
        rule("create delete get list update watch", "", "persistentvolumes"),
        rule("update", "", "persistentvolumes/status"),
        rule(_UPDATED, "", "persistentvolumeclaims"),
        rule("update", "", "persistentvolumeclaims/status"),
        rule("create delete get list watch", "", "pods"),
        rule(READ, "storage.k8s.io", "storageclasses"),
        rule("list watch", "", "nodes"),
        EVENTS,
        rule("watch", "", "events"),
        rule("get", "", "services"),
    ],
    "pod-garbage-collector": [
        rule("delete list watch", "", "pods"),
        rule("get list", "", "nodes"),
        rule("patch", "", "pods/status"),
    ],
    "pv-protection-controller": [rule(_UPDATED, "", "persistentvolumes"), EVENTS],
    "pvc-protection-controller": [
        rule(_UPDATED, "", "persistentvolumeclaims"),
        rule(READ, "", "pods"),
        EVENTS,
    ],
    "replicaset-controller": [*_own_old("replicasets", _UPDATED), _PODS_MADE, EVENTS],
    "replication-controller": [
        *_own("", "replicationcontrollers", _UPDATED),
        _PODS_MADE,
        EVENTS,
    ],
    "resource-claim-controller": [
        rule(READ, "", "pods"),
        rule("update", "", "pods/finalizers"),
        rule("create delete get list watch", "resource.k8s.io", "resourceclaims"),
        rule("patch update", "resource.k8s.io", "resourceclaims resourceclaims/status"),
        rule("patch update", "", "pods/status"),
        EVENTS,
    ],
    "resourcequota-controller": [
        rule("list watch", "*", "*"),
        rule("update", "", "resourcequotas/status"),
        EVENTS,
    ],
    "root-ca-cert-publisher": [rule("create update", "", "configmaps"), EVENTS],
    "route-controller": [
        rule("list watch", "", "nodes"),
        rule("patch", "", "nodes/status"),
        EVENTS,
    ],
    "service-account-controller": [rule("create", "", "serviceaccounts"), EVENTS],
    "selinux-warning-controller": [
        rule(READ, "", "persistentvolumeclaims persistentvolumes pods"),
        rule(READ, "storage.k8s.io", "csidrivers"),
        EVENTS,
    ],
    "service-cidrs-controller": [
        rule("get list patch update watch", "networking.k8s.io", "servicecidrs"),
        rule("patch update", "networking.k8s.io", "servicecidrs/finalizers servicecidrs/status"),
        rule(READ, "networking.k8s.io", "ipaddresses"),
        EVENTS,
    ],
    "service-controller": [
        rule(READ, "", "services"),
        rule("patch update", "", "services/status"),
        rule("list watch", "", "nodes"),
        EVENTS,
    ],
    "statefulset-controller": [
        rule("list watch", "", "pods"),
        *_own("apps", "statefulsets", READ),
        rule("create delete get patch update", "", "pods"),
        _REVISIONS,
        rule("create get list watch", "", "persistentvolumeclaims"),
        EVENTS,
        rule("delete update", "", "persistentvolumeclaims"),
        rule("update", "", "pods/finalizers"),
    ],
    "ttl-after-finished-controller": [rule("delete get list watch", "batch", "jobs"), EVENTS],
    "ttl-controller": [rule("list patch update watch", "", "nodes"), EVENTS],
    "validatingadmissionpolicy-status-controller": [
        rule(READ, "admissionregistration.k8s.io", "validatingadmissionpolicies"),
        rule("get patch update", "admissionregistration.k8s.io", "validatingadmissionpolicies/status"),
        EVENTS,
    ],
    "volumeattributesclass-protection-controller": [
        rule(READ, "", "persistentvolumeclaims persistentvolumes"),
        rule(_UPDATED, "storage.k8s.io", "volumeattributesclasses"),
        EVENTS,
    ],
}

CONTROLLER_ROLES = {f"system:controller:{name}": rules for name, rules in _RULES.items()}
"""Rules by the name of the ClusterRole; what follows the last colon is the controller's service account."""

PROCESS_RULES = [
    rule("delete deletecollection get list patch update watch", "*", "*"),
    EVENTS,
    rule("create", "", "configmaps endpoints endpoints/restricted persistentvolumeclaims persistentvolumes"),
    rule("create", "", "pods pods/binding pods/eviction serviceaccounts"),
    rule("create", "apps", "controllerrevisions replicasets"),
    rule("create", "batch", "jobs"),
    rule("create", "coordination.k8s.io", "leases"),
    rule("create", "discovery.k8s.io", "endpointslices endpointslices/restricted"),
    rule("create", "storage.k8s.io", "volumeattachments"),
    rule("create", "authorization.k8s.io", "subjectaccessreviews"),
    *(each for each in _RULES["certificate-controller"] if "signers" in each["resources"]),
    # Here they are looked at and approved too, once their node is known.
    rule("approve", _CSR, "signers", "kubernetes.io/kubelet-serving"),
    *_RULES["clusterrole-aggregation-controller"],
]
"""Of the one process that all controllers here are.

The garbage collector and the end of a namespace delete and release whatever there is; what may be made is listed.
"""
