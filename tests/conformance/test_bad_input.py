"""Bad input of every kind: upstream's code, reason and field paths, and nothing in the store changes."""

import contextlib
import itertools
import json
import socket
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.liveserver import live_server
from tests.support.replay import Caller

DEFAULT = "/api/v1/namespaces/default"
CONFIG_MAPS, PODS, SERVICES = f"{DEFAULT}/configmaps", f"{DEFAULT}/pods", f"{DEFAULT}/services"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
STATEFUL_SETS = "/apis/apps/v1/namespaces/default/statefulsets"
JOBS, CRON_JOBS = "/apis/batch/v1/namespaces/default/jobs", "/apis/batch/v1/namespaces/default/cronjobs"
ROLE_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
PRIORITY_CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH, APPLY = "application/json-patch+json", "application/apply-patch+yaml"
STRICT, WARN, IGNORE = ("?dryRun=All&fieldValidation=" + word for word in ("Strict", "Warn", "Ignore"))

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap"}
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}
CONTAINER = {"name": "c", "image": "i"}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}}
SELECTOR = {"matchLabels": {"a": "b"}}
STORED = {
    f"{DEFAULT}/serviceaccounts": {"metadata": {"name": "default"}},
    CONFIG_MAPS: {"metadata": {"name": "o"}, "data": {"a": "1"}, "immutable": True},
    PODS: {"metadata": {"name": "o"}, "spec": TEMPLATE["spec"]},
    SERVICES: {"metadata": {"name": "o"}, "spec": {"ports": [{"port": 80}]}},
    DEPLOYMENTS: {"metadata": {"name": "o"}, "spec": {"selector": SELECTOR, "template": TEMPLATE}},
    STATEFUL_SETS: {
        "metadata": {"name": "o"},
        "spec": {"serviceName": "s", "selector": SELECTOR, "template": TEMPLATE},
    },
    JOBS: {"metadata": {"name": "o"}, "spec": {"template": {"spec": TEMPLATE["spec"] | {"restartPolicy": "Never"}}}},
    ROLE_BINDINGS: {
        "metadata": {"name": "o"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
    },
}

INVALID, REQUIRED, UNSUPPORTED = "FieldValueInvalid", "FieldValueRequired", "FieldValueNotSupported"
DUPLICATE, FORBIDDEN, NOT_FOUND = "FieldValueDuplicate", "FieldValueForbidden", "FieldValueNotFound"
TOO_LONG = "FieldValueTooLong"
REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed", 406: "NotAcceptable",
    409: "Conflict", 413: "RequestEntityTooLarge", 415: "UnsupportedMediaType", 422: "Invalid",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A request and the refusal it deserves. `causes` are pairs of reason and field."""

    name: str
    method: str
    path: str
    body: Any = None
    kind: str = JSON
    code: int = 400
    says: str = ""
    causes: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> bytes | None:
        return self.body if isinstance(self.body, bytes | None) else json.dumps(self.body).encode()


def post(name: str, path: str, body: Any, **expected: Any) -> Case:
    return Case(name, "POST", path, body, **expected)


def patch(name: str, path: str, body: Any, **expected: Any) -> Case:
    return Case(name, "PATCH", path, body, **{"kind": MERGE, **expected})


def get(name: str, path: str, **expected: Any) -> Case:
    return Case(name, "GET", path, **expected)


def invalid(name: str, path: str, body: Any, *causes: tuple[str, str], says: str = "") -> Case:
    return post(name, path, {"metadata": {"name": "n"}} | body, code=422, causes=causes, says=says)


def immutable(name: str, path: str, body: Any, *causes: tuple[str, str], says: str = "") -> Case:
    return patch(name, f"{path}/o", body, code=422, causes=causes, says=says)


def pod(**spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": [CONTAINER], **spec}}


def container(**fields: Any) -> dict[str, Any]:
    return pod(containers=[CONTAINER | fields])


def deployment(**spec: Any) -> dict[str, Any]:
    return {"spec": {"selector": SELECTOR, "template": TEMPLATE, **spec}}


def laughs(form: str) -> bytes:
    """YAML of a few lines that stands for billions of values."""
    names = "abcdefghij"
    lines = [f"{b}: &{b} {form % ', '.join([f'*{a}'] * 9)}" for a, b in itertools.pairwise(names)]
    return "\n".join(["a: &a {k: v}", *lines]).encode()


MALFORMED = [
    post("JSON that ends too early", CONFIG_MAPS, b'{"a":', says="unexpected end of JSON input"),
    post("no body", CONFIG_MAPS, b""),
    post("a list", CONFIG_MAPS, b"[]", says="cannot unmarshal array"),
    post("a string", CONFIG_MAPS, b'"x"', says="cannot unmarshal string"),
    post("two objects", CONFIG_MAPS, b'{"a":1}{"b":2}', says="after top-level value"),
    post("noise", CONFIG_MAPS, b"\xff\x00\xfe"),
    post("YAML with an open bracket", CONFIG_MAPS, b"a: [", kind=YAML, says="yaml: line 1"),
    post("YAML with a tab", CONFIG_MAPS, b"a:\n\t- b", kind=YAML, says="cannot start any token"),
    post("YAML that makes objects of Python", CONFIG_MAPS, b"!!python/object/apply:os.system [x]", kind=YAML),
    post("protobuf that is none", CONFIG_MAPS, b"k8s\x00\xff\xff", kind=PROTOBUF),
    post("another kind", CONFIG_MAPS, {"kind": "Secret", "apiVersion": "v1"}, says="cannot be handled as a ConfigMap"),
    post("another version", CONFIG_MAPS, {"kind": "ConfigMap", "apiVersion": "v2"}, says="v2"),
    Case("an update without body", "PUT", f"{CONFIG_MAPS}/o", b""),
    patch("a merge patch that is none", f"{CONFIG_MAPS}/o", b"[1]"),
    patch("a strategic patch that is none", f"{CONFIG_MAPS}/o", b'"x"', kind=STRATEGIC),
    patch("a JSON patch that is none", f"{CONFIG_MAPS}/o", b"{}", kind=JSON_PATCH),
    patch("half a patch", f"{CONFIG_MAPS}/o", b'{"data":', kind=STRATEGIC),
    patch("an unknown operation", f"{CONFIG_MAPS}/o", [{"op": "zap", "path": "/x"}], kind=JSON_PATCH, code=422),
    patch("a test that fails", f"{CONFIG_MAPS}/o", [{"op": "test", "path": "/data/a", "value": "2"}], kind=JSON_PATCH, code=422),
    patch("a path that is not there", f"{CONFIG_MAPS}/o", [{"op": "remove", "path": "/x/y"}], kind=JSON_PATCH, code=422),
    patch("a directive that is not known", f"{CONFIG_MAPS}/o", {"$patch": "zap"}, kind=STRATEGIC, says="zap"),
    Case("options that are none", "DELETE", f"{CONFIG_MAPS}/o", b"{", says="DeleteOptions"),
]  # fmt: skip

ENDLESS = [
    post("nested JSON", CONFIG_MAPS, b"[" * 2_000_000),
    post("nested YAML", CONFIG_MAPS, b"[" * 2_000_000, kind=YAML, says="max depth"),
    post("nested YAML blocks", CONFIG_MAPS, b"- " * 100_000, kind=YAML, says="max depth"),
    post("aliases of aliases", CONFIG_MAPS, laughs("[%s]"), kind=YAML, says="excessive aliasing"),
    post("merges of merges", CONFIG_MAPS, laughs("{<<: [%s]}"), kind=YAML, says="excessive aliasing"),
    Case("nested options", "DELETE", f"{CONFIG_MAPS}/o", b"[" * 100_000),
    Case("laughing options", "DELETE", f"{CONFIG_MAPS}/o", laughs("[%s]"), kind=YAML),
    patch("a nested patch", f"{CONFIG_MAPS}/o", b'{"data":' * 100_000),
    patch("copies of copies", f"{CONFIG_MAPS}/o", [
        {"op": "add", "path": "/x", "value": {"a": "b" * 1000}},
        *({"op": "copy", "from": "/x", "path": f"/x/{number}"} for number in range(40)),
    ], kind=JSON_PATCH, code=422),
    patch("operations without end", f"{CONFIG_MAPS}/o", [{"op": "test", "path": "", "value": 1}] * 10_001, kind=JSON_PATCH, code=413),
    post("five megabytes", CONFIG_MAPS, {"metadata": {"name": "n"}, "data": {"a": "x" * 5_000_000}}, code=413),
    Case("an update of five megabytes", "PUT", f"{CONFIG_MAPS}/o", {"data": {"a": "x" * 5_000_000}}, code=413),
    patch("a patch of five megabytes", f"{CONFIG_MAPS}/o", {"data": {"a": "x" * 5_000_000}}, code=413),
    invalid("data over a megabyte", CONFIG_MAPS, {"data": {"a": "x" * 1_200_000}}, ("FieldValueTooLong", "")),
    invalid("annotations over 256 KiB", CONFIG_MAPS, {"metadata": {"name": "n", "annotations": {"a": "x" * 300_000}}},
            ("FieldValueTooLong", "metadata.annotations")),
    invalid("owners without end", CONFIG_MAPS, {"metadata": {"name": "n", "ownerReferences": [OWNER] * 20_000}}, (INVALID, "metadata.ownerReferences")),
    post("a number without end", DEPLOYMENTS, b'{"spec":{"replicas":' + b"9" * 100_000 + b"}}"),
]  # fmt: skip

UNKNOWN_FIELDS = [
    post("an unknown field", CONFIG_MAPS + STRICT, {"metadata": {"name": "n"}, "zap": 1}, says='unknown field "zap"'),
    post("an unknown field within", DEPLOYMENTS + STRICT, {"metadata": {"name": "n"}, **deployment(zap=1)}, says='unknown field "spec.zap"'),
    post("in a list", PODS + STRICT, {"metadata": {"name": "n"}, **container(zap=1)}, says='unknown field "spec.containers[0].zap"'),
    post("the same field twice", CONFIG_MAPS + STRICT, b'{"metadata":{"name":"n","name":"n"}}', says='duplicate field "metadata.name"'),
    patch("by a patch", f"{CONFIG_MAPS}/o{STRICT}", {"zap": 1}, code=422, causes=((INVALID, "patch"),), says='unknown field "zap"'),
    Case("by an update", "PUT", f"{CONFIG_MAPS}/o{STRICT}", {"metadata": {"name": "o"}, "zap": 1}, says='unknown field "zap"'),
]  # fmt: skip

TYPES = [
    post("text for a number", DEPLOYMENTS, deployment(replicas="two"), says="json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"),
    post("a fraction for a number", DEPLOYMENTS, deployment(replicas=1.5), says="cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
    post("a number beyond its type", DEPLOYMENTS, deployment(replicas=2**31), says="cannot unmarshal number 2147483648 into Go struct field DeploymentSpec.spec.replicas of type int32"),
    post("a number for text", CONFIG_MAPS, {"metadata": {"name": 5}}, says="cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string"),
    post("a number in a map of text", CONFIG_MAPS, {"data": {"a": 1}}, says="cannot unmarshal number into Go struct field ConfigMap.data of type string"),
    post("a list for an object", CONFIG_MAPS, {"metadata": []}, says="cannot unmarshal array into Go struct field"),
    post("an object for a list", PODS, pod(containers={}), says="cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"),
    post("text for a truth value", CONFIG_MAPS, {"immutable": "yes"}, says="cannot unmarshal string into Go struct field ConfigMap.immutable of type bool"),
    post("no quantity", PODS, container(resources={"limits": {"cpu": "lots"}}), says="quantities must match the regular expression"),
    post("no time", CONFIG_MAPS, {"metadata": {"creationTimestamp": "yesterday"}}, says='parsing time "yesterday"'),
    post("no base64", f"{DEFAULT}/secrets", {"data": {"a": "%"}}, says="illegal base64 data at input byte 0"),
    patch("by a patch", f"{DEPLOYMENTS}/o", {"spec": {"replicas": "two"}}, code=422, causes=((INVALID, "patch"),), says="cannot unmarshal string"),
]  # fmt: skip

NAME = (INVALID, "metadata.name")
NAMES = [
    *(invalid(f"{name[:9]!r}", CONFIG_MAPS, {"metadata": {"name": name}}, NAME)
      for name in ("UPPER", "a_b", "-a", "a.", "a..b", "a b", "a/b", "ä", "x" * 254)),
    invalid("no name", CONFIG_MAPS, {"metadata": {}}, (REQUIRED, "metadata.name"), says="name or generateName is required"),
    invalid("a namespace's label of 64", "/api/v1/namespaces", {"metadata": {"name": "x" * 64}}, NAME, (INVALID, "metadata.labels")),
    invalid("a service with a dot", SERVICES, {"metadata": {"name": "a.b"}, "spec": {"ports": [{"port": 1}]}}, NAME),
    invalid("generated from nonsense", CONFIG_MAPS, {"metadata": {"generateName": "A_"}}, (INVALID, "metadata.generateName"), NAME),
    invalid("a label's name", CONFIG_MAPS, {"metadata": {"name": "n", "labels": {"a b": "c"}}}, (INVALID, "metadata.labels")),
    invalid("a label's value", CONFIG_MAPS, {"metadata": {"name": "n", "labels": {"a": "b c"}}}, (INVALID, "metadata.labels")),
    invalid("an annotation's name", CONFIG_MAPS, {"metadata": {"name": "n", "annotations": {"a/b/c": ""}}}, (INVALID, "metadata.annotations")),
    invalid("a finalizer", CONFIG_MAPS, {"metadata": {"name": "n", "finalizers": ["a b"]}}, (INVALID, "metadata.finalizers"), (INVALID, "metadata.finalizers[0]")),
    invalid("an owner without a name", CONFIG_MAPS, {"metadata": {"name": "n", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "uid": "u"}]}},
            (INVALID, "metadata.ownerReferences.name")),
    post("the other namespace", CONFIG_MAPS, {"metadata": {"name": "n", "namespace": "kube-system"}}, says="does not match the namespace"),
    post("no such namespace", "/api/v1/namespaces/none/configmaps", {"metadata": {"name": "n"}}, code=404, says='namespaces "none" not found'),
    Case("the other name", "PUT", f"{CONFIG_MAPS}/o", {"metadata": {"name": "p"}}, says="the name of the object (p) does not match the name on the URL (o)"),
]  # fmt: skip

VALUES = [
    invalid("negative replicas", DEPLOYMENTS, deployment(replicas=-1), (INVALID, "spec.replicas")),
    patch("negative replicas by scale", f"{DEPLOYMENTS}/o/scale", {"spec": {"replicas": -1}}, code=422, causes=((INVALID, "spec.replicas"),)),
    invalid("a selector of another template", DEPLOYMENTS, deployment(selector={"matchLabels": {"a": "c"}}), (INVALID, "spec.template.metadata.labels")),
    invalid("no selector", DEPLOYMENTS, {"spec": {"template": TEMPLATE}}, (REQUIRED, "spec.selector"), (INVALID, "spec.template.metadata.labels")),
    invalid("a template that restarts never", DEPLOYMENTS, deployment(template=TEMPLATE | pod(restartPolicy="Never")), (UNSUPPORTED, "spec.template.spec.restartPolicy")),
    invalid("no containers", PODS, pod(containers=[]), (REQUIRED, "spec.containers")),
    invalid("no image", PODS, container(image=""), (REQUIRED, "spec.containers[0].image")),
    invalid("two containers of one name", PODS, pod(containers=[CONTAINER, CONTAINER]), (DUPLICATE, "spec.containers[1].name")),
    invalid("a port too high", PODS, container(ports=[{"containerPort": 70000}]), (INVALID, "spec.containers[0].ports[0].containerPort")),
    invalid("an unknown protocol", PODS, container(ports=[{"containerPort": 80, "protocol": "ICMP"}]), (UNSUPPORTED, "spec.containers[0].ports[0].protocol")),
    invalid("a volume that is not there", PODS, container(volumeMounts=[{"name": "v", "mountPath": "/v"}]), (NOT_FOUND, "spec.containers[0].volumeMounts[0].name")),
    invalid("a request over its limit", PODS, container(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}), (INVALID, "spec.containers[0].resources.requests")),
    invalid("less than nothing", PODS, container(resources={"requests": {"cpu": "-1"}}), (INVALID, "spec.containers[0].resources.requests[cpu]")),
    invalid("an unknown restart policy", PODS, pod(restartPolicy="Maybe"), (UNSUPPORTED, "spec.restartPolicy")),
    invalid("a service without ports", SERVICES, {"spec": {}}, (REQUIRED, "spec.ports")),
    invalid("a node port out of range", SERVICES, {"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}}, (INVALID, "spec.ports[0].nodePort")),
    invalid("an address of others", SERVICES, {"spec": {"clusterIP": "192.0.2.1", "ports": [{"port": 80}]}}, (INVALID, "spec.clusterIPs")),
    invalid("a schedule of nonsense", CRON_JOBS, {"spec": {"schedule": "x", "jobTemplate": {"spec": {"template": {"spec": TEMPLATE["spec"] | {"restartPolicy": "Never"}}}}}},
            (INVALID, "spec.schedule")),
    invalid("a priority of the system's", PRIORITY_CLASSES, {"metadata": {"name": "system-x"}, "value": 1}, (FORBIDDEN, "metadata.name")),
    post("an account that is not there", PODS, {"metadata": {"name": "n"}, **pod(serviceAccountName="x")}, code=403, says='serviceaccount "x" not found'),
    post("a priority that is not there", PODS, {"metadata": {"name": "n"}, **pod(priorityClassName="x")}, code=403, says="no PriorityClass with name x was found"),
    post("what is there already", CONFIG_MAPS, {"metadata": {"name": "o"}}, code=409, reason="AlreadyExists", says='configmaps "o" already exists'),
    post("a version of its own", CONFIG_MAPS, {"metadata": {"name": "n", "resourceVersion": "1"}}, says="resourceVersion should not be set on objects to be created"),
    Case("an outdated version", "PUT", f"{DEPLOYMENTS}/o", {"metadata": {"name": "o", "resourceVersion": "1"}, **deployment()}, code=409, says="the object has been modified"),
    patch("another uid", f"{DEPLOYMENTS}/o", {"metadata": {"uid": "x"}}, code=409, says="Precondition failed: UID"),
]  # fmt: skip

IMMUTABLE = [
    immutable("an immutable ConfigMap", CONFIG_MAPS, {"data": {"a": "2"}}, (FORBIDDEN, "data"), says="field is immutable when `immutable` is set"),
    immutable("immutability itself", CONFIG_MAPS, {"immutable": False}, (FORBIDDEN, "immutable")),
    immutable("a Deployment's selector", DEPLOYMENTS, {"spec": {"selector": {"matchLabels": {"c": "d"}}}},
              (INVALID, "spec.template.metadata.labels"), (INVALID, "spec.selector"), says="field is immutable"),
    immutable("a Pod's containers", PODS, {"spec": {"containers": [CONTAINER | {"name": "d"}]}}, (FORBIDDEN, "spec"), says="pod updates may not change fields other than"),
    immutable("a Service's address", SERVICES, {"spec": {"clusterIP": "10.96.0.77"}}, (INVALID, "spec.clusterIPs[0]"), says="may not change once set"),
    immutable("a StatefulSet's service", STATEFUL_SETS, {"spec": {"serviceName": "t"}}, (FORBIDDEN, "spec"), says="updates to statefulset spec for fields other than"),
    immutable("a Job's template", JOBS, {"spec": {"template": {"spec": {"containers": [CONTAINER | {"image": "j"}]}}}}, (INVALID, "spec.template"), says="field is immutable"),
    immutable("a binding's role", ROLE_BINDINGS, {"roleRef": {"name": "s"}}, (INVALID, "roleRef"), says="cannot change roleRef"),
    patch("a name", f"{DEPLOYMENTS}/o", {"metadata": {"name": "p"}}, says="the name of the object (p) does not match the name on the URL (o)"),
    Case("a system namespace", "DELETE", "/api/v1/namespaces/kube-system", code=403, says="this namespace may not be deleted"),
    Case("a system priority", "DELETE", f"{PRIORITY_CLASSES}/system-node-critical", code=403, says="cannot be deleted"),
    Case("with another uid", "DELETE", f"{CONFIG_MAPS}/o", {"preconditions": {"uid": "x"}}, code=409, says="the UID in the precondition (x) does not match the UID in record"),
]  # fmt: skip

PLACES = [
    get("an object that is not there", f"{CONFIG_MAPS}/none", code=404, says='configmaps "none" not found'),
    Case("deleting it", "DELETE", f"{CONFIG_MAPS}/none", code=404, says='configmaps "none" not found'),
    patch("patching it", f"{CONFIG_MAPS}/none", {}, code=404, says='configmaps "none" not found'),
    Case("putting it", "PUT", f"{CONFIG_MAPS}/none", {"metadata": {"name": "none"}}, code=404, says='configmaps "none" not found'),
    get("an unknown kind", f"{DEFAULT}/zaps", code=404, says="the server could not find the requested resource"),
    post("creating one", f"{DEFAULT}/zaps", {}, code=404, says="the server could not find the requested resource"),
    get("an unknown group", "/apis/zap.example.com/v1/zaps", code=404, says="404 page not found"),
    get("an unknown version", "/apis/apps/v9/deployments", code=404, says="404 page not found|could not find"),
    get("an unknown path", "/zap", code=404, says="404 page not found"),
    get("an unknown part", f"{CONFIG_MAPS}/o/status", code=404),
    post("a POST to an object", f"{CONFIG_MAPS}/o", {}, code=405),
    Case("a PUT to a collection", "PUT", CONFIG_MAPS, {}, code=405),
    patch("a PATCH of a collection", CONFIG_MAPS, {}, code=405),
    Case("the end of all namespaces", "DELETE", "/api/v1/namespaces", code=405),
    Case("an unknown method", "ZAP", CONFIG_MAPS, code=405),
]  # fmt: skip

QUERIES = [
    get("a label selector without a key", f"{CONFIG_MAPS}?labelSelector=%3D%3D", says="unable to parse requirement|found '=='"),
    get("an open label selector", f"{CONFIG_MAPS}?labelSelector=a%20in%20(b", says="a in (b|found ''"),
    get("a label that cannot be", f"{CONFIG_MAPS}?labelSelector=a%2Fb%2Fc", says="a/b/c"),
    get("a field that cannot be selected", f"{CONFIG_MAPS}?fieldSelector=data.a%3Db", says='field label not supported: data.a|"data.a" is not a known field selector'),
    get("half a field selector", f"{CONFIG_MAPS}?fieldSelector=metadata.name", says="invalid selector: 'metadata.name'"),
    Case("deleting what a bad selector selects", "DELETE", f"{CONFIG_MAPS}?labelSelector=%3D%3D"),
    get("a limit in words", f"{CONFIG_MAPS}?limit=x", says='parsing "x": invalid syntax'),
    get("a time-out in words", f"{CONFIG_MAPS}?timeoutSeconds=x", says='parsing "x": invalid syntax'),
    get("a version in words", f"{CONFIG_MAPS}?resourceVersion=x", says="resourceVersion: Invalid value"),
    get("a watch from a version in words", f"{CONFIG_MAPS}?watch=1&resourceVersion=x", says="resourceVersion: Invalid value"),
    get("a match without a version", f"{CONFIG_MAPS}?resourceVersionMatch=Exact", code=422, causes=((FORBIDDEN, "resourceVersionMatch"),)),
    get("an unknown match", f"{CONFIG_MAPS}?resourceVersion=1&resourceVersionMatch=x", code=422, causes=((UNSUPPORTED, "resourceVersionMatch"),)),
    get("a token of nonsense", f"{CONFIG_MAPS}?continue=zzz", says="continue key is not valid"),
    post("half a dry run", f"{CONFIG_MAPS}?dryRun=Some", {"metadata": {"name": "n"}}, code=422, causes=((UNSUPPORTED, "dryRun"),)),
    post("half a validation", f"{CONFIG_MAPS}?fieldValidation=Some", {"metadata": {"name": "n"}}, code=422, causes=((UNSUPPORTED, "fieldValidation"),)),
    Case("an unknown policy", "DELETE", f"{CONFIG_MAPS}/o?propagationPolicy=Some", code=422, causes=((UNSUPPORTED, "propagationPolicy"),)),
    Case("grace in words", "DELETE", f"{CONFIG_MAPS}/o?gracePeriodSeconds=x", says='parsing "x": invalid syntax'),
]  # fmt: skip

FORMS = [
    post("a WebSocket by POST", f"{PODS}/o/exec", b"", headers={"Upgrade": "websocket", "Connection": "Upgrade"}),
    get("a WebSocket without a key", f"{PODS}/o/exec", headers={"Upgrade": "websocket", "Connection": "Upgrade"}, says="missing Sec-WebSocket-Key"),
    post("plain text", CONFIG_MAPS, b"{}", kind="text/plain", code=415),
    post("CBOR", CONFIG_MAPS, b"\xa0", kind="application/cbor", code=415),
    patch("a patch of no kind", f"{CONFIG_MAPS}/o", {}, kind=JSON, code=415),
    patch("an apply by nobody", f"{CONFIG_MAPS}/o", b"{}", kind=APPLY, code=422, causes=((REQUIRED, "fieldManager"),)),
    patch("an apply by a long name", f"{CONFIG_MAPS}/o?fieldManager={'m' * 129}", b"{}", kind=APPLY, code=422, causes=((TOO_LONG, "fieldManager"),)),
    patch("a forced merge", f"{CONFIG_MAPS}/o?force=true", {}, kind=MERGE, code=422, causes=((FORBIDDEN, "force"),)),
    patch("an apply of nothing", f"{CONFIG_MAPS}/o?fieldManager=m", b"", kind=APPLY, says="error decoding YAML"),
    patch("an apply of no kind", f"{CONFIG_MAPS}/o?fieldManager=m", b"data: {}", kind=APPLY, says="invalid object type: /, Kind="),
    patch("an apply of unknown fields", f"{CONFIG_MAPS}/o?fieldManager=m", {**CONFIG_MAP, "dada": {}}, kind=APPLY, says=".dada: field not declared in schema"),
    patch("an apply of wrong types", f"{CONFIG_MAPS}/o?fieldManager=m", {**CONFIG_MAP, "data": [1]}, kind=APPLY, says=".data: expected map, got &{[1]}"),
    patch("an apply of entries", f"{CONFIG_MAPS}/o?fieldManager=m", {**CONFIG_MAP, "metadata": {"managedFields": []}}, kind=APPLY, says="metadata.managedFields must be nil"),
    patch("an apply of bombs", f"{CONFIG_MAPS}/o?fieldManager=m", laughs("[%s]"), kind=APPLY, says="excessive aliasing"),
    get("an answer in HTML", f"{CONFIG_MAPS}/o", headers={"accept": "text/html"}, code=406),
    get("an answer as something else", CONFIG_MAPS, headers={"accept": "application/json;as=Zap;g=meta.k8s.io;v=v1"}, code=406),
]  # fmt: skip

TOKENS = ["Bearer x", "Bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJzeXN0ZW06bWFzdGVycyJ9."]

CASES = {
    "malformed": MALFORMED, "endless": ENDLESS, "unknown fields": UNKNOWN_FIELDS, "types": TYPES, "names": NAMES, "values": VALUES,
    "immutable": IMMUTABLE, "places": PLACES, "queries": QUERIES, "forms": FORMS,
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with live_server(tmp_path_factory.mktemp("bad")) as running:
        yield running


@pytest.fixture(scope="module")
def call(server):
    with contextlib.closing(Caller(server.url, server.tls())) as caller:
        for path, obj in STORED.items():
            code, answer, _ = caller("POST", path, json.dumps(obj).encode())
            assert code == 201, answer
        yield caller


@pytest.fixture
def unchanged(call):
    """Checks that nothing was written, whatever the test did: any write raises the store's revision."""

    def revision():
        return call("GET", "/api/v1/namespaces")[1]["metadata"]["resourceVersion"]

    before = revision()
    yield
    assert revision() == before


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{topic}: {case.name}") for topic, cases in CASES.items() for case in cases]
)
@pytest.mark.usefixtures("unchanged")
def test_bad_input_is_refused_as_upstream_refuses_it_and_changes_nothing(call, case):
    code, answer, _ = call(case.method, case.path, case.data, content_type=case.kind, **case.headers)
    assert code == case.code, answer
    said = answer if isinstance(answer, str) else answer["message"]
    assert any(part in said for part in case.says.split("|")), said
    if isinstance(answer, str):
        return
    assert (answer["kind"], answer["status"], answer["code"]) == ("Status", "Failure", code)
    assert answer["reason"] == (case.reason or REASONS[code])
    causes = (answer.get("details") or {}).get("causes") or []
    assert {(each["reason"], each.get("field", "")) for each in causes} == set(case.causes)


@pytest.mark.parametrize("authorization", TOKENS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.usefixtures("unchanged")
def test_a_bad_token_is_unauthorized(server, authorization, method):
    with contextlib.closing(Caller(server.url, server.tls(admin=False))) as stranger:
        path = CONFIG_MAPS if method == "POST" else f"{CONFIG_MAPS}/o"
        code, answer, _ = stranger(method, path, b'{"metadata":{"name":"n"}}', Authorization=authorization)
    assert (code, answer["reason"], answer["message"]) == (401, "Unauthorized", "Unauthorized")


@pytest.mark.parametrize("token", ["a", "eA", "%"])
def test_a_bad_token_of_a_web_socket_is_unauthorized(server, token):
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": f"v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.{token}",
    }
    with contextlib.closing(Caller(server.url, server.tls(admin=False))) as stranger:
        code, answer, _ = stranger("GET", f"{PODS}/o/exec", **headers)
    assert (code, answer["reason"]) == (401, "Unauthorized")


@pytest.mark.usefixtures("unchanged")
def test_without_credentials_one_may_ask_for_health_and_version_only(server):
    with contextlib.closing(Caller(server.url, server.tls(admin=False))) as nobody:
        for path in ("/healthz", "/livez", "/readyz", "/version"):
            assert nobody("GET", path)[0] == 200
        for method, path in (
            ("GET", "/api"),
            ("GET", "/apis"),
            ("GET", CONFIG_MAPS),
            ("POST", CONFIG_MAPS),
            ("DELETE", CONFIG_MAPS),
        ):
            code, answer, _ = nobody(method, path, b'{"metadata":{"name":"n"}}')
            assert (code, answer["reason"]) == (401, "Unauthorized")


HOST = b" HTTP/1.1\r\nHost: x\r\n"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /api HTTP/9.9\r\nHost: x\r\n",
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
        b"GET *" + HOST,
        b"OPTIONS *" + HOST,
        b"CONNECT x:1" + HOST,
        b"GET x" + HOST,
        b"GET /\xff\xfe" + HOST,
        b"GET /api" + HOST + b"X: " + b"a" * 200_000 + b"\r\n",
        b"GET /" + b"a" * 200_000 + HOST,
        b"POST /api/v1/namespaces" + HOST + b"Content-Length: -5\r\n",
        b"POST /api/v1/namespaces" + HOST + b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"POST /api/v1/namespaces" + HOST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /api/v1/namespaces/default/pods/o/exec" + HOST + UPGRADE + b"Content-Length: 5\r\n\r\nabcde",
    ],
    ids=lambda raw: repr(raw[:40]),
)
@pytest.mark.usefixtures("unchanged")
def test_what_is_no_http_is_a_bad_request(server, raw):
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain,
        server.tls().wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(raw + b"\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(("validation", "warnings"), [(WARN, ['299 - "unknown field \\"zap\\""']), (IGNORE, [])])
@pytest.mark.usefixtures("unchanged")
def test_an_unknown_field_is_warned_of_or_ignored_as_the_client_wishes(call, validation, warnings):
    code, answer, told = call("POST", CONFIG_MAPS + validation, b'{"metadata":{"name":"n"},"zap":1}')
    assert (code, told) == (201, warnings)
    assert "zap" not in answer


@pytest.mark.usefixtures("unchanged")
def test_warnings_without_end_are_cut(call):
    body = json.dumps({"metadata": {"name": "n"}} | {f"{'x' * 100}{number}": 1 for number in range(5000)}).encode()
    code, _, told = call("POST", CONFIG_MAPS + WARN, body)
    assert code == 201
    assert 1000 < sum(map(len, told)) < 10_000


def test_the_log_has_no_traceback(server, call):
    assert call("GET", "/readyz")[0] == 200
    assert "Traceback" not in server.log
    assert [line for line in server.log.splitlines() if " ERROR " in line] == []
