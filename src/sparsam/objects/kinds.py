"""The built-in kinds of Kubernetes' stable groups: one declarative entry for each served resource.

Facts (names, scopes, verbs, subresources, order) follow the discovery documents of Kubernetes 1.36
and 1.37. What a resource's fields are stands in the schema table (`schema`); how it behaves stands in
its strategy (`strategies`). A resource is identified by (group, version, plural); two entries that
share a `storage_plural` are two views of the same stored objects (events, horizontal autoscalers).
"""

from __future__ import annotations

from dataclasses import dataclass

STANDARD_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Resource:
    """A served resource: how it is named, where it lives and which verbs it answers."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = STANDARD_VERBS
    subresources: tuple[str, ...] = ()
    listed_as: str = ""

    @property
    def api_version(self) -> str:
        """`apps/v1`, or plain `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular_name(self) -> str:
        """The singular that kubectl accepts."""
        return self.singular or self.kind.lower()

    @property
    def list_kind(self) -> str:
        """The kind of a list of objects."""
        return self.listed_as or f"{self.kind}List"

    @property
    def group_resource(self) -> str:
        """`deployments.apps`, as Status messages name it; plain `pods` for the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def storage_prefix(self) -> str:
        """Key prefix of every stored object of this resource, ending in a slash.

        Keys are `/{group or core}/{plural}/{namespace}/{name}`, without the namespace when cluster-scoped.
        `events.k8s.io` shares the core group's events.
        """
        group = "core" if self.group in ("", "events.k8s.io") else self.group
        return f"/{group}/{self.plural}/"

    def key(self, name: str, namespace: str = "") -> str:
        """Store key of one object."""
        return f"{self.storage_prefix}{namespace}/{name}" if self.namespaced else f"{self.storage_prefix}{name}"

    def path(self, name: str = "", namespace: str = "", subresource: str = "") -> str:
        """URL path of the collection, of an object, or of its subresource.

        With no namespace a namespaced resource's collection over all namespaces is meant.
        """
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = (f"/{name}" if name else "") + (f"/{subresource}" if subresource else "")
        return f"{base}{scope}/{self.plural}{tail}"


RESOURCES: tuple[Resource, ...] = (
    Resource("", "v1", "Binding", "bindings", verbs=("create",)),
    Resource(
        "", "v1", "ComponentStatus", "componentstatuses", namespaced=False, short_names=("cs",), verbs=("get", "list")
    ),
    Resource("", "v1", "ConfigMap", "configmaps", short_names=("cm",)),
    Resource("", "v1", "Endpoints", "endpoints", short_names=("ep",)),
    Resource("", "v1", "Event", "events", short_names=("ev",)),
    Resource("", "v1", "LimitRange", "limitranges", short_names=("limits",)),
    Resource(
        "",
        "v1",
        "Namespace",
        "namespaces",
        namespaced=False,
        short_names=("ns",),
        verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
        subresources=("finalize", "status"),
    ),
    Resource("", "v1", "Node", "nodes", namespaced=False, short_names=("no",), subresources=("proxy", "status")),
    Resource(
        "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", short_names=("pvc",), subresources=("status",)
    ),
    Resource(
        "",
        "v1",
        "PersistentVolume",
        "persistentvolumes",
        namespaced=False,
        short_names=("pv",),
        subresources=("status",),
    ),
    Resource(
        "",
        "v1",
        "Pod",
        "pods",
        short_names=("po",),
        categories=("all",),
        subresources=(
            "attach",
            "binding",
            "ephemeralcontainers",
            "eviction",
            "exec",
            "log",
            "portforward",
            "proxy",
            "resize",
            "status",
        ),
    ),
    Resource("", "v1", "PodTemplate", "podtemplates"),
    Resource(
        "",
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        short_names=("rc",),
        categories=("all",),
        subresources=("scale", "status"),
    ),
    Resource("", "v1", "ResourceQuota", "resourcequotas", short_names=("quota",), subresources=("status",)),
    Resource("", "v1", "Secret", "secrets"),
    Resource("", "v1", "ServiceAccount", "serviceaccounts", short_names=("sa",), subresources=("token",)),
    Resource(
        "", "v1", "Service", "services", short_names=("svc",), categories=("all",), subresources=("proxy", "status")
    ),
    Resource(
        "apiregistration.k8s.io",
        "v1",
        "APIService",
        "apiservices",
        namespaced=False,
        categories=("api-extensions",),
        subresources=("status",),
    ),
    Resource("apps", "v1", "ControllerRevision", "controllerrevisions"),
    Resource(
        "apps", "v1", "DaemonSet", "daemonsets", short_names=("ds",), categories=("all",), subresources=("status",)
    ),
    Resource(
        "apps",
        "v1",
        "Deployment",
        "deployments",
        short_names=("deploy",),
        categories=("all",),
        subresources=("scale", "status"),
    ),
    Resource(
        "apps",
        "v1",
        "ReplicaSet",
        "replicasets",
        short_names=("rs",),
        categories=("all",),
        subresources=("scale", "status"),
    ),
    Resource(
        "apps",
        "v1",
        "StatefulSet",
        "statefulsets",
        short_names=("sts",),
        categories=("all",),
        subresources=("scale", "status"),
    ),
    Resource("events.k8s.io", "v1", "Event", "events", short_names=("ev",)),
    Resource(
        "authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", namespaced=False, verbs=("create",)
    ),
    Resource("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False, verbs=("create",)),
    Resource("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", verbs=("create",)),
    Resource(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        namespaced=False,
        verbs=("create",),
    ),
    Resource(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        namespaced=False,
        verbs=("create",),
    ),
    Resource(
        "authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False, verbs=("create",)
    ),
    Resource(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        short_names=("hpa",),
        categories=("all",),
        subresources=("status",),
    ),
    Resource(
        "autoscaling",
        "v1",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        short_names=("hpa",),
        categories=("all",),
        subresources=("status",),
    ),
    Resource("batch", "v1", "CronJob", "cronjobs", short_names=("cj",), categories=("all",), subresources=("status",)),
    Resource("batch", "v1", "Job", "jobs", categories=("all",), subresources=("status",)),
    Resource(
        "certificates.k8s.io",
        "v1",
        "CertificateSigningRequest",
        "certificatesigningrequests",
        namespaced=False,
        short_names=("csr",),
        subresources=("approval", "status"),
    ),
    Resource("certificates.k8s.io", "v1", "ClusterTrustBundle", "clustertrustbundles", namespaced=False),
    Resource("networking.k8s.io", "v1", "IngressClass", "ingressclasses", namespaced=False),
    Resource("networking.k8s.io", "v1", "Ingress", "ingresses", short_names=("ing",), subresources=("status",)),
    Resource("networking.k8s.io", "v1", "IPAddress", "ipaddresses", namespaced=False, short_names=("ip",)),
    Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", short_names=("netpol",)),
    Resource("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs", namespaced=False, subresources=("status",)),
    Resource(
        "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", short_names=("pdb",), subresources=("status",)
    ),
    Resource("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    Resource("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False),
    Resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    Resource("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    Resource("storage.k8s.io", "v1", "CSIDriver", "csidrivers", namespaced=False),
    Resource("storage.k8s.io", "v1", "CSINode", "csinodes", namespaced=False),
    Resource("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities"),
    Resource("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False, short_names=("sc",)),
    Resource(
        "storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", namespaced=False, subresources=("status",)
    ),
    Resource(
        "storage.k8s.io",
        "v1",
        "VolumeAttributesClass",
        "volumeattributesclasses",
        namespaced=False,
        short_names=("vac",),
    ),
    Resource(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingAdmissionPolicy",
        "mutatingadmissionpolicies",
        namespaced=False,
        categories=("api-extensions",),
    ),
    Resource(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingAdmissionPolicyBinding",
        "mutatingadmissionpolicybindings",
        namespaced=False,
        categories=("api-extensions",),
    ),
    Resource(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        namespaced=False,
        categories=("api-extensions",),
    ),
    Resource(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        namespaced=False,
        categories=("api-extensions",),
        subresources=("status",),
    ),
    Resource(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        namespaced=False,
        categories=("api-extensions",),
    ),
    Resource(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        namespaced=False,
        categories=("api-extensions",),
    ),
    Resource(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        subresources=("status",),
    ),
    Resource("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", namespaced=False, short_names=("pc",)),
    Resource("coordination.k8s.io", "v1", "Lease", "leases"),
    Resource("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", namespaced=False),
    Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    Resource("resource.k8s.io", "v1", "DeviceClass", "deviceclasses", namespaced=False),
    Resource("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims", subresources=("status",)),
    Resource("resource.k8s.io", "v1", "ResourceClaimTemplate", "resourceclaimtemplates"),
    Resource("resource.k8s.io", "v1", "ResourceSlice", "resourceslices", namespaced=False),
    Resource(
        "flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", namespaced=False, subresources=("status",)
    ),
    Resource(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
        namespaced=False,
        subresources=("status",),
    ),
    Resource("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", namespaced=False, verbs=("get", "list")),
    Resource("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", verbs=("get", "list")),
    Resource("power.sparsam.dev", "v1alpha1", "NodePower", "nodepowers", namespaced=False, subresources=("status",)),
    Resource(
        "power.sparsam.dev", "v1alpha1", "ServerModel", "servermodels", namespaced=False, subresources=("status",)
    ),
    Resource("power.sparsam.dev", "v1alpha1", "PowerPolicy", "powerpolicies", namespaced=False),
)

_BY_PLURAL = {(r.group, r.version, r.plural): r for r in RESOURCES}
_BY_KIND = {(r.group, r.version, r.kind): r for r in RESOURCES}


def find(group: str, version: str, plural: str) -> Resource | None:
    """The resource served at (group, version, plural), or None."""
    return _BY_PLURAL.get((group, version, plural))


def by_kind(api_version: str, kind: str) -> Resource | None:
    """The resource whose objects carry this apiVersion and kind, or None."""
    group, _, version = api_version.rpartition("/")
    return _BY_KIND.get((group, version, kind))


def _known(group: str, version: str, plural: str) -> Resource:
    return _BY_PLURAL[(group, version, plural)]


PODS = _known("", "v1", "pods")
NODES = _known("", "v1", "nodes")
PODDISRUPTIONBUDGETS = _known("policy", "v1", "poddisruptionbudgets")
SERVICES = _known("", "v1", "services")
ENDPOINTS = _known("", "v1", "endpoints")
SERVICECIDRS = _known("networking.k8s.io", "v1", "servicecidrs")
NAMESPACES = _known("", "v1", "namespaces")
CONFIGMAPS = _known("", "v1", "configmaps")
SECRETS = _known("", "v1", "secrets")
SERVICEACCOUNTS = _known("", "v1", "serviceaccounts")
EVENTS = _known("", "v1", "events")
DEPLOYMENTS = _known("apps", "v1", "deployments")
REPLICASETS = _known("apps", "v1", "replicasets")
STATEFULSETS = _known("apps", "v1", "statefulsets")
DAEMONSETS = _known("apps", "v1", "daemonsets")
CONTROLLERREVISIONS = _known("apps", "v1", "controllerrevisions")
JOBS = _known("batch", "v1", "jobs")
CRONJOBS = _known("batch", "v1", "cronjobs")
REPLICATIONCONTROLLERS = _known("", "v1", "replicationcontrollers")
HORIZONTALPODAUTOSCALERS = _known("autoscaling", "v2", "horizontalpodautoscalers")
LEASES = _known("coordination.k8s.io", "v1", "leases")
ENDPOINTSLICES = _known("discovery.k8s.io", "v1", "endpointslices")
CSIDRIVERS = _known("storage.k8s.io", "v1", "csidrivers")
CSINODES = _known("storage.k8s.io", "v1", "csinodes")
CSISTORAGECAPACITIES = _known("storage.k8s.io", "v1", "csistoragecapacities")
STORAGECLASSES = _known("storage.k8s.io", "v1", "storageclasses")
RESOURCESLICES = _known("resource.k8s.io", "v1", "resourceslices")
VOLUMEATTACHMENTS = _known("storage.k8s.io", "v1", "volumeattachments")
VOLUMEATTRIBUTESCLASSES = _known("storage.k8s.io", "v1", "volumeattributesclasses")
PERSISTENTVOLUMES = _known("", "v1", "persistentvolumes")
PERSISTENTVOLUMECLAIMS = _known("", "v1", "persistentvolumeclaims")
NETWORKPOLICIES = _known("networking.k8s.io", "v1", "networkpolicies")
RUNTIMECLASSES = _known("node.k8s.io", "v1", "runtimeclasses")
LIMITRANGES = _known("", "v1", "limitranges")
RESOURCEQUOTAS = _known("", "v1", "resourcequotas")
INGRESSES = _known("networking.k8s.io", "v1", "ingresses")
INGRESSCLASSES = _known("networking.k8s.io", "v1", "ingressclasses")
CLUSTERROLES = _known("rbac.authorization.k8s.io", "v1", "clusterroles")
CLUSTERROLEBINDINGS = _known("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
ROLES = _known("rbac.authorization.k8s.io", "v1", "roles")
ROLEBINDINGS = _known("rbac.authorization.k8s.io", "v1", "rolebindings")
TOKENREVIEWS = _known("authentication.k8s.io", "v1", "tokenreviews")
SUBJECTACCESSREVIEWS = _known("authorization.k8s.io", "v1", "subjectaccessreviews")
PRIORITYCLASSES = _known("scheduling.k8s.io", "v1", "priorityclasses")
CLUSTERTRUSTBUNDLES = _known("certificates.k8s.io", "v1", "clustertrustbundles")
CERTIFICATESIGNINGREQUESTS = _known("certificates.k8s.io", "v1", "certificatesigningrequests")
APISERVICES = _known("apiregistration.k8s.io", "v1", "apiservices")
VALIDATINGADMISSIONPOLICIES = _known("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies")
CUSTOMRESOURCEDEFINITIONS = _known("apiextensions.k8s.io", "v1", "customresourcedefinitions")
NODE_METRICS = _known("metrics.k8s.io", "v1beta1", "nodes")
POD_METRICS = _known("metrics.k8s.io", "v1beta1", "pods")
NODEPOWERS = _known("power.sparsam.dev", "v1alpha1", "nodepowers")
POWERPOLICIES = _known("power.sparsam.dev", "v1alpha1", "powerpolicies")
SERVERMODELS = _known("power.sparsam.dev", "v1alpha1", "servermodels")
