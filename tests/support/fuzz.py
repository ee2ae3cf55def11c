"""Random requests to an API server: from almost right to pure noise, the same for the same seed.

What needs a node (exec, attach, port-forward, log, proxy) is left out, and so is the end of the namespaces in use.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import yaml

from sparsam.objects.kinds import RESOURCES, Resource, by_kind
from tests.support.random_objects import WORDS, random_object

NAMESPACES = ("kube-public", "kube-system", "none", "Bad Name", "")
NAMES = ("o", "p", "q", "r")
ODD_NAMES = ("v1.x", "x.example.com", "10.0.0.1", "Bad Name", "system-x", "..", "ä", "o%2Fp", "a" * 300)
# At this share of its choices a request is kept plain, so that many get past the first check.
PLAIN = 0.85
NEED_A_NODE = ("exec", "attach", "portforward", "log", "proxy")
JSON_TYPES = ("application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "")
APPLY = "application/apply-patch+yaml"
PATCH_TYPES = (
    "application/merge-patch+json", "application/json-patch+json", "application/strategic-merge-patch+json", APPLY,
)  # fmt: skip
OTHER_TYPES = (
    "application/yaml",
    "text/plain",
    "application/vnd.kubernetes.protobuf",
    "application/cbor",
    "x",
    "a/b;;=",
)
ACCEPTS = (
    "application/json", "*/*", "", "application/yaml", "text/html", "application/json;as=Table;g=meta.k8s.io;v=v1",
    "application/json;as=Table;g=meta.k8s.io;v=v1beta1", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", "application/vnd.kubernetes.protobuf,application/json",
    "application/json;as=Zap;g=x;v=y", ";;;,,", "application/json;q=z",
)  # fmt: skip
QUERIES: dict[str, tuple[str, ...]] = {
    "labelSelector": ("a=b", "a in (b,c)", "!a", "a notin ()", "==", "a,", "a=b=c", "a>1", "a>x", "(", "ä=ö", "a in (", "," * 50),
    "fieldSelector": ("metadata.name=o", "metadata.name!=o", "spec.nodeName=", "x=y", "=", "metadata.name", "status.phase=", "\\"),
    "limit": ("0", "1", "2", "-1", "x", "99999999999999999999", "1.5", ""),
    "continue": ("x", "", "e30", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiLi4vIn0", "////", "ä"),
    "resourceVersion": ("0", "1", "5", "-1", "x", "", "99999999", "99999999999999999999999"),
    "resourceVersionMatch": ("Exact", "NotOlderThan", "x", ""),
    "timeoutSeconds": ("0", "1", "-1", "x", "1e3"),
    "sendInitialEvents": ("true", "false", "x"),
    "allowWatchBookmarks": ("true", "x"),
    "dryRun": ("All", "All", "x", ""),
    "fieldValidation": ("Strict", "Warn", "Ignore", "x"),
    "pretty": ("true", "0", "x"),
    "propagationPolicy": ("Background", "Foreground", "Orphan", "x"),
    "orphanDependents": ("true", "x"),
    "gracePeriodSeconds": ("0", "1", "-1", "x", "99999999999999999999"),
    "fieldManager": ("m", "", "a" * 200, "\x01"),
    "force": ("true", "x"),
    "includeObject": ("None", "Object", "Metadata", "x"),
    "as": ("x",),
    "": ("",),
}  # fmt: skip
SCALARS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 1.5, -0.0, 1e308, 1e-320, "", "x", "\x00",
    "\ud83d\ude00", "a" * 5000, "25%", "1Gi", "-1Gi", "1e400Gi", "2026-01-02T03:04:05Z", "9999-99-99T99:99:99Z", "QQ==", "=",
    "None", "null", "*", "..", "{", "$patch", "\u202e",
)  # fmt: skip
RAW = (
    b"", b"{", b"[]", b"null", b'"x"', b"0", b"{}", b"\xff\xfe", b"\x00" * 20, b'{"a":1}{"b":2}', b'{"metadata":{"name":"\\ud800"}}',
    b'{"metadata":{"name":"d","name":"e"}}', b"k8s\x00", b"k8s\x00\x0a\x04\x0a\x02v1", b"k8s\x00" + b"\xff" * 40,
    b'{"metadata":' * 500, b"[" * 20_000, b"{" * 20_000, b'{"metadata":{"name":1e999}}', b"a: [", b"a: &a [*a]", b"- - - -",
    b"!!python/object/apply:os.system ['x']", b"a: !!binary x", b"? [a]: b", b"{? {a: b}: c}", b"a: 2026-01-02", b"1: 2", b"\t",
    b"--- {}\n--- {}", b"a: 1_000\nb: 0x10\nc: .nan\nd: .inf", b'{"a":NaN}', b'{"a":Infinity}', b"\xef\xbb\xbf{}",
)  # fmt: skip
PATHS = (
    "/", "/api", "/apis", "/api/", "/apis/", "/api/v1", "/apis/apps", "/apis/apps/v1", "/apis/nope", "/version", "/healthz", "/readyz",
    "/livez/ping", "/openapi/v2", "/openapi/v3", "/openapi/v3/api/v1", "/openapi/v3/apis/apps/v1", "/openapi/v3/nope", "/metrics", "/debug",
    "/api/v1/namespaces/default/pods/o/binding", "/api/v1/namespaces/default/pods/o/nope", "/api/v1/namespaces//pods", "//", "/%", "/%00",
    "/api/v1/namespaces/default/status", "/api/v1/watch/pods", "/apis/apps/v1/namespaces/default/deployments/o/scale/x", "/api/v1/pods/o",
    "/api/v1/namespaces/default/pods/../../x", "/.well-known/openid-configuration", "/openid/v1/jwks", "/logs", "/swagger.json", "/?" + "a" * 3000,
)  # fmt: skip


_CONTAINER = {"name": "c", "image": "i:1", "ports": [{"containerPort": 80}], "env": [{"name": "A", "value": "b"}]}
_POD = {"containers": [_CONTAINER], "volumes": [{"name": "v", "emptyDir": {}}], "nodeSelector": {"a": "b"}}
_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": _POD}
_SELECTOR = {"matchLabels": {"a": "b"}}
_RULE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
_ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}
_CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
_HOOK = {
    "name": "h.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://h/x"},
    # Of one kind only, since nothing answers there: with all kinds, noise would come to an end.
    "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["leases"], "operations": ["CREATE"]}],
}  # fmt: skip
# Good objects to start from, by kind: what the schema alone cannot make.
GOOD: dict[str, dict[str, Any]] = {
    "ConfigMap": {"data": {"a": "b"}, "binaryData": {"c": "QQ=="}},
    "Secret": {"data": {"a": "QQ=="}, "type": "Opaque"},
    "Pod": {"spec": _POD},
    "PodTemplate": {"template": _TEMPLATE},
    "Service": {"spec": {"selector": {"a": "b"}, "ports": [{"port": 80, "name": "x"}], "type": "NodePort"}},
    "ServiceAccount": {"secrets": [{"name": "s"}]},
    "Namespace": {},
    "Node": {"spec": {"podCIDR": "10.1.0.0/24"}},
    "LimitRange": {"spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}},
    "ResourceQuota": {"spec": {"hard": {"pods": "3"}}},
    "PersistentVolume": {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}},
    "PersistentVolumeClaim": {"spec": _CLAIM},
    "ReplicationController": {"spec": {"replicas": 1, "template": _TEMPLATE}},
    "Deployment": {"spec": {"replicas": 2, "selector": _SELECTOR, "template": _TEMPLATE}},
    "ReplicaSet": {"spec": {"selector": _SELECTOR, "template": _TEMPLATE}},
    "DaemonSet": {"spec": {"selector": _SELECTOR, "template": _TEMPLATE}},
    "StatefulSet": {"spec": {"serviceName": "s", "selector": _SELECTOR, "template": _TEMPLATE}},
    "ControllerRevision": {"data": {"a": 1}, "revision": 1},
    "Job": {"spec": {"template": {"spec": _POD | {"restartPolicy": "Never"}}}},
    "CronJob": {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": _POD | {"restartPolicy": "Never"}}}}}},
    "HorizontalPodAutoscaler": {"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "o"}}},
    "PodDisruptionBudget": {"spec": {"minAvailable": 1, "selector": _SELECTOR}},
    "NetworkPolicy": {"spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}},
    "Ingress": {"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}},
    "IngressClass": {"spec": {"controller": "example.com/c"}},
    "Role": {"rules": [_RULE]},
    "ClusterRole": {"rules": [_RULE]},
    "RoleBinding": {"roleRef": _ROLE, "subjects": [{"kind": "User", "name": "u"}]},
    "ClusterRoleBinding": {"roleRef": _ROLE},
    "Lease": {"spec": {"holderIdentity": "h", "leaseDurationSeconds": 3}},
    "EndpointSlice": {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"]}], "ports": [{"name": "", "port": 80}]},
    "Endpoints": {"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]},
    "StorageClass": {"provisioner": "example.com/p"},
    "CSIDriver": {"spec": {"attachRequired": False}},
    "CSINode": {"spec": {"drivers": [{"name": "d.example.com", "nodeID": "n"}]}},
    "VolumeAttachment": {"spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}}},
    "PriorityClass": {"value": 5},
    "RuntimeClass": {"handler": "h"},
    "ValidatingWebhookConfiguration": {"webhooks": [_HOOK]},
    "MutatingWebhookConfiguration": {"webhooks": [_HOOK]},
    "SubjectAccessReview": {"spec": {"user": "u", "resourceAttributes": {"verb": "get", "resource": "pods"}}},
    "SelfSubjectAccessReview": {"spec": {"nonResourceAttributes": {"path": "/x", "verb": "get"}}},
    "TokenReview": {"spec": {"token": "t"}},
    "Binding": {"target": {"kind": "Node", "name": "n"}},
    "Scale": {"spec": {"replicas": 3}},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `str` of it is enough to send it again."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.headers} {(self.body or b'')[:1500]!r}"


class Fuzzer:
    """An endless source of requests."""

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)

    def request(self) -> Request:
        """The next one."""
        kind = self._chance.random()
        if kind < 0.06:
            return self._noise()
        resource = self._chance.choice(RESOURCES)
        if kind < 0.45:
            return self._write(resource, "POST", "")
        if kind < 0.55:
            return self._write(resource, "PUT", self._name())
        if kind < 0.72:
            return self._patch(resource, self._name())
        if kind < 0.80:
            return self._on_part(resource)
        return self._read_or_delete(resource)

    def follow_up(self, sent: Request, answer: Any) -> Request | None:
        """At times, an update of the object that a write was answered with, changed somewhere."""
        if sent.method not in ("POST", "PUT", "PATCH") or not isinstance(answer, dict) or self._chance.random() < 0.5:
            return None
        metadata = answer.get("metadata") or {}
        resource = by_kind(answer.get("apiVersion", ""), answer.get("kind", ""))
        if resource is None or "resourceVersion" not in metadata:
            return None
        name, namespace = quote(metadata["name"]), quote(metadata.get("namespace", ""))
        part = self._chance.choice(["", "", "", *(part for part in resource.subresources if part not in NEED_A_NODE)])
        path = resource.path(name, namespace, part) + self._query(0.1)
        return Request("PUT", path, self._headers(), json.dumps(self._mutated(answer)).encode())

    def _plain(self) -> bool:
        return self._chance.random() < PLAIN

    def _name(self) -> str:
        return quote(self._chance.choice(NAMES if self._plain() else ODD_NAMES), safe="%")

    def _namespace(self, resource: Resource) -> str:
        if not resource.namespaced:
            return ""
        return "default" if self._plain() else quote(self._chance.choice(NAMESPACES))

    def _path(self, resource: Resource, name: str = "", part: str = "") -> str:
        return resource.path(name, self._namespace(resource), part) + self._query()

    def _query(self, share: float = 0.25) -> str:
        if self._chance.random() > share:
            return ""
        names = self._chance.sample(sorted(QUERIES), self._chance.choice((1, 1, 2, 3)))
        return "?" + "&".join(f"{name}={quote(self._chance.choice(QUERIES[name]))}" for name in names)

    def _headers(self, content_type: str = "") -> dict[str, str]:
        headers = {"Content-Type": content_type} if content_type else {}
        if not self._plain():
            headers["Accept"] = self._chance.choice(ACCEPTS)
        if self._chance.random() < 0.01:
            headers["Authorization"] = self._chance.choice(
                ("Bearer x", "Bearer a.b.c", "Basic eDp5", "Bearer", "x y z")
            )
        if self._chance.random() < 0.01:
            headers |= {"Upgrade": "websocket", "Connection": "Upgrade"}
        return headers

    def _write(self, resource: Resource, method: str, name: str, part: str = "") -> Request:
        noise = self._chance.random() < 0.06
        kind = self._chance.choice((*OTHER_TYPES, *PATCH_TYPES) if noise else JSON_TYPES)
        return Request(method, self._path(resource, name, part), self._headers(kind), self._body(resource, kind, name))

    def _patch(self, resource: Resource, name: str, part: str = "") -> Request:
        kind = self._chance.choice(PATCH_TYPES if self._chance.random() < 0.95 else OTHER_TYPES)
        body = self._json_patch(resource) if kind == "application/json-patch+json" else self._body(resource, kind, name)
        path = self._path(resource, name, part)
        if kind == APPLY and "?" not in path:
            # Without a manager nothing is applied.
            path += f"?fieldManager={self._chance.choice(NAMES)}&force={self._chance.choice(('true', 'false'))}"
        return Request("PATCH", path, self._headers(kind), body)

    def _on_part(self, resource: Resource) -> Request:
        parts = [part for part in resource.subresources if part not in NEED_A_NODE]
        part = self._chance.choice([*parts, *parts, *parts, "status", "scale", "nope"])
        method = self._chance.choice(("GET", "POST", "PUT", "PUT", "PATCH", "DELETE"))
        if method == "PATCH":
            return self._patch(resource, self._name(), part)
        if method in ("POST", "PUT"):
            return self._write(resource, method, self._name(), part)
        return Request(method, self._path(resource, self._name(), part), self._headers())

    def _read_or_delete(self, resource: Resource) -> Request:
        method = self._chance.choice(
            ("GET", "GET", "GET", "GET", "HEAD", "DELETE", "DELETE", "OPTIONS", "TRACE", "ZAP")
        )
        name = self._name() if self._chance.random() < (0.5 if method != "DELETE" else 0.97) else ""
        if method == "DELETE" and self._chance.random() < 0.3:
            return self._write(resource, method, name)
        path = resource.path(name, self._namespace(resource)) + self._query(0.6)
        if method == "GET" and not name and self._chance.random() < 0.15:
            path += ("&" if "?" in path else "?") + "watch=1"
        return Request(method, path, self._headers())

    def _noise(self) -> Request:
        path = self._chance.choice(PATHS)
        if self._chance.random() < 0.4:
            pieces = (
                "api",
                "apis",
                "v1",
                "namespaces",
                "default",
                "pods",
                "o",
                "status",
                "%ff",
                "%2e%2e",
                "",
                "apps",
                "x" * 2000,
            )
            path = "/" + "/".join(self._chance.choice(pieces) for _ in range(self._chance.randrange(1, 9)))
        method = self._chance.choice(("GET", "GET", "POST", "PUT", "PATCH", "DELETE"))
        body = None if method == "GET" else self._chance.choice(RAW)
        return Request(method, path, self._headers(self._chance.choice(JSON_TYPES)), body)

    def _body(self, resource: Resource, content_type: str, name: str = "") -> bytes:
        kind = self._chance.random()
        if kind < 0.06:
            return self._chance.choice(RAW)
        if kind < 0.09:
            return self._chance.randbytes(self._chance.randrange(200))
        value: Any = random_object(self._chance, resource)
        if resource.kind in GOOD and self._plain():
            value = GOOD[resource.kind] | {key: value[key] for key in ("kind", "apiVersion", "metadata")}
        if self._plain():
            value["metadata"]["name"] = unquote(name or self._name())
        if kind < 0.14:
            value = self._json()
        elif kind < 0.5:
            for _ in range(self._chance.choice((1, 1, 2, 4))):
                value = self._mutated(value)
        if "yaml" in content_type and self._chance.random() < 0.7:
            return yaml.safe_dump(value, allow_unicode=True).encode(errors="surrogatepass")
        body = json.dumps(value).encode()
        return body[: self._chance.randrange(len(body))] if kind > 0.97 else body

    def _json_patch(self, resource: Resource) -> bytes:
        if self._chance.random() < 0.1:
            return self._body(resource, "")
        steps = (
            "metadata",
            "spec",
            "status",
            "labels",
            "annotations",
            "template",
            "containers",
            "0",
            "-",
            "1",
            "name",
            "",
            "~0",
            "~1",
            "~",
        )

        def pointer() -> str:
            return "".join("/" + self._chance.choice(steps) for _ in range(self._chance.randrange(5)))

        operations = ("add", "remove", "replace", "move", "copy", "test", "zap")
        patch = [
            {"op": self._chance.choice(operations), "path": pointer(), "from": pointer(), "value": self._json(2)}
            for _ in range(self._chance.choice((0, 1, 1, 2, 4)))
        ]
        return json.dumps(self._mutated(patch) if self._chance.random() < 0.2 else patch).encode()

    def _json(self, depth: int = 4) -> Any:
        kind = self._chance.random()
        if depth == 0 or kind < 0.5:
            return self._chance.choice((*SCALARS, *WORDS))
        if kind < 0.7:
            return [self._json(depth - 1) for _ in range(self._chance.randrange(4))]
        names = (
            "metadata",
            "spec",
            "name",
            "kind",
            "apiVersion",
            "a",
            "",
            "$patch",
            "$setElementOrder/a",
            "$retainKeys",
        )
        return {self._chance.choice(names): self._json(depth - 1) for _ in range(self._chance.randrange(4))}

    def _mutated(self, value: Any) -> Any:
        """A copy with something somewhere replaced, removed, renamed, or doubled."""
        if not isinstance(value, dict | list) or not value or self._chance.random() < 0.1:
            return self._json(2)
        if isinstance(value, list):
            place = self._chance.randrange(len(value))
            if self._chance.random() < 0.1:
                return value + value
            return [self._mutated(item) if i == place else item for i, item in enumerate(value)]
        name = self._chance.choice(sorted(value))
        change = self._chance.random()
        out = dict(value)
        if change < 0.1:
            del out[name]
        elif change < 0.2:
            out[self._chance.choice(("x", "", "$patch", name.upper(), name + "x"))] = out.pop(name)
        elif change < 0.35:
            out[name] = self._json(1)
        else:
            out[name] = self._mutated(value[name])
        return out
