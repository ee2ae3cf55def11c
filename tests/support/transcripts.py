"""Replay recorded API transcripts in this process, through decode, create, update and patches, without a server.

    python -m tests.support.transcripts --only pods --show 20 [--case "create set"] [--level fields]

Each step is compared on the levels of `tests.support.agreement`. Steps that only a server can answer (lists, tables,
deletes) are left out.

The recorded server ran default admission; `admit` stands in for the parts that the recordings show.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sparsam.apiserver.addresses import ServiceAddresses
from sparsam.errors import BadRequest, Conflict, StatusError
from sparsam.objects import codec, pipeline
from sparsam.objects.kinds import RESOURCES, Resource
from tests.support.agreement import LEVELS, agreement, explain

DATA = Path(os.environ.get("SPARSAM_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
FILE = DATA / "api_transcripts.jsonl.gz"
PROTECTED = {"persistentvolumes": "pv", "persistentvolumeclaims": "pvc"}
DEPRECATED = {"endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"}
SERVERS_OWN = {
    "text type", "no such namespace", "dryRun bad", "fieldValidation bad", "finalized get", "finalized add",
    "finalized release", "finalized gone",
}  # fmt: skip
ADDRESSES = ServiceAddresses(["10.0.0.0/16"], (30000, 32767), (), kept="")
NOW = "2026-01-02T03:04:05Z"
UID = "00000000-0000-4000-8000-000000000000"


def admit(resource: Resource, obj: dict[str, Any], old: dict[str, Any] | None) -> None:
    """The admission plug-ins that the recordings show, reduced to what changes a body."""
    if old is not None:
        return
    if resource.plural == "pods":
        _admit_pod(obj["spec"])
    elif resource.plural == "services" and obj["spec"].get("type") != "ExternalName":
        spec = obj["spec"]
        spec.setdefault("clusterIP", "10.0.0.10")
        if spec["clusterIP"] == "":
            spec["clusterIP"] = "10.0.0.10"
        if not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        if spec.get("type") in ("NodePort", "LoadBalancer"):
            for port in spec.get("ports") or []:
                port.setdefault("nodePort", 30000)
    elif resource.plural == "nodes":
        taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
        obj["spec"]["taints"] = [*(obj["spec"].get("taints") or []), taint]
    elif resource.plural in PROTECTED:
        finalizers = obj["metadata"].setdefault("finalizers", [])
        finalizers.append(f"kubernetes.io/{PROTECTED[resource.plural]}-protection")


def _admit_pod(spec: dict[str, Any]) -> None:
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    tolerations = spec.get("tolerations") or []
    for condition in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{condition}"
        if not any(
            each.get("key", "") in (key, "") and each.get("effect", "") in ("NoExecute", "") for each in tolerations
        ):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    spec["tolerations"] = tolerations
    account = spec.get("serviceAccountName") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    if spec.get("automountServiceAccountToken") is False:
        return
    mount_path = "/var/run/secrets/kubernetes.io/serviceaccount"
    wanted = False
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        mounts = container.get("volumeMounts") or []
        if not any(mount.get("mountPath") == mount_path for mount in mounts):
            mounts.append({"name": "kube-api-access-abcde", "readOnly": True, "mountPath": mount_path})
            container["volumeMounts"] = mounts
            wanted = True
    if wanted:
        spec["volumes"] = [*(spec.get("volumes") or []), _token_volume()]


def _token_volume() -> dict[str, Any]:
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
        {
            "configMap": {
                "name": "openshift-service-ca.crt",
                "items": [{"key": "service-ca.crt", "path": "service-ca.crt"}],
            }
        },
    ]
    return {"name": "kube-api-access-abcde", "projected": {"sources": sources, "defaultMode": 420}}


class Replay:
    """One scenario's objects, and what a request does to them."""

    def __init__(self) -> None:
        self.stored: dict[str, tuple[bytes, int]] = {}
        self.revision = 1

    def answer(self, request: dict[str, Any], step: dict[str, Any]) -> tuple[int, Any, list[str]] | None:
        """Code, body and warnings; None where only a server could answer."""
        url = urlsplit(request["path"])
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        target = locate(url.path)
        if target is None or "as=Table" in request.get("accept", "") or "g=" in request.get("accept", ""):
            return None
        resource, namespace, name, subresource = target
        if resource is None or subresource not in ("", "status"):
            return None
        ctx = pipeline.Context(
            now=NOW,
            uid=UID,
            name_suffix="abcde",
            namespace=namespace,
            field_validation=query.get("fieldValidation", "Warn"),
            admit=lambda new, old: admit(resource, new, old),
            settle=ADDRESSES.settle if resource.plural == "services" else pipeline.nothing,
        )
        deprecation = [DEPRECATED[resource.plural]] if resource.plural in DEPRECATED else []
        try:
            found = self._dispatch(request, step, resource, name, subresource, ctx, "dryRun" in query)
            return found and (found[0], found[1], deprecation + found[2])
        except StatusError as error:
            return error.code, error.as_json(), deprecation
        except Exception:
            return 500, traceback.format_exc(), []

    def _dispatch(self, request, step, resource, name, subresource, ctx, dry_run):
        method, kind = request["method"], request.get("contentType", "application/json")
        key = resource.key(name, ctx.namespace)
        if method == "POST" and not name:
            obj, warnings = pipeline.decode(resource, self._raw(request, step, None), kind, ctx)
            namespace = (obj.get("metadata") or {}).get("namespace")
            if resource.namespaced and namespace and namespace != ctx.namespace:
                raise BadRequest(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            obj, more = pipeline.create(resource, obj, ctx)
            key = resource.key(obj["metadata"]["name"], ctx.namespace)
            if key in self.stored:
                return None
            return 201, self._store(resource, key, obj, dry_run, 0), warnings + more
        if method == "GET" and name and key in self.stored and subresource == "":
            return 200, self._wire(resource, key), []
        if method not in ("PUT", "PATCH") or not name or key not in self.stored:
            return None
        value, revision = self.stored[key]
        old = codec.decode_stored(value, revision, resource)
        raw = self._raw(request, step, old)
        if method == "PUT":
            new, warnings = pipeline.decode(resource, raw, kind, ctx, subresource=subresource)
        else:
            patch = kind.partition("/")[2].partition("+")[0].removesuffix("-patch").removesuffix("-merge")
            if patch not in ("json", "merge", "strategic") or kind == "application/json":
                return None
            owned = codec.decode_stored(value, revision, resource)
            new, warnings = pipeline.apply_patch(resource, owned, patch, raw, ctx, subresource=subresource)
        version = new["metadata"].get("resourceVersion")
        if new["metadata"].get("name", name) != name:
            raise BadRequest(
                f"the name of the object ({new['metadata']['name']}) does not match the name on the URL ({name})"
            )
        if version and version != str(revision):
            details = {"name": name, "group": resource.group, "kind": resource.plural}
            text = "the object has been modified; please apply your changes to the latest version and try again"
            message = f'Operation cannot be fulfilled on {resource.group_resource} "{name}": {text}'
            raise Conflict(message, details={key: each for key, each in details.items() if each})
        new, more = pipeline.update(resource, new, old, ctx, subresource=subresource)
        return 200, self._store(resource, key, new, dry_run, revision), warnings + more

    def _raw(self, request, step, old) -> bytes:
        body = request.get("body")
        if "raw" in request:
            return request["raw"].encode()
        if isinstance(body, str) and body.startswith("<last get"):
            body = json.loads(json.dumps(old))
            if "set" in step:
                target = body
                try:
                    for part in step["set"]["path"][:-1]:
                        target = target[part]
                    target[step["set"]["path"][-1]] = step["set"]["value"]
                except (KeyError, IndexError, TypeError):
                    pass
            else:
                body["metadata"]["resourceVersion"] = "999"
        return json.dumps(body).encode()

    def _store(self, resource, key, obj, dry_run, revision):
        value = codec.encode(obj)
        if dry_run:
            body = json.loads(codec.wire(value, revision or 1, resource))
            if not revision:
                del body["metadata"]["resourceVersion"]
            return body
        self.revision += 1
        self.stored[key] = (value, self.revision)
        return self._wire(resource, key)

    def _wire(self, resource, key):
        value, revision = self.stored[key]
        return json.loads(codec.wire(value, revision, resource))


_PATHS = {resource.path(): resource for resource in RESOURCES}


def locate(path: str) -> tuple[Resource, str, str, str] | None:
    """(resource, namespace, name, subresource) of a URL path."""
    parts = path.strip("/").split("/")
    head = 2 if parts[0] == "api" else 3
    namespace = ""
    if len(parts) > head + 2 and parts[head] == "namespaces":
        namespace = parts[head + 1]
        rest = parts[head + 2 :]
        if rest[0] in ("status", "finalize") and len(rest) == 1:
            namespace, rest = "", parts[head:]
    else:
        rest = parts[head:]
    if not rest:
        return None
    resource = _PATHS.get("/" + "/".join([*parts[:head], rest[0]]))
    if resource is None:
        return None
    name, subresource = [*rest[1:], "", ""][:2]
    return resource, namespace, name, subresource


def scenarios(only: str = "", file: Path = FILE) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt") as lines:
        for line in lines:
            scenario = json.loads(line)
            if re.search(only, scenario["scenario"]):
                yield scenario


def replay(only: str = "", case: str = "") -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, bool], Any]]:
    """(scenario, step, levels, answer) of each step that can be answered in this process."""
    for scenario in scenarios(only):
        bench = Replay()
        for step in scenario["steps"]:
            if step["case"] in SERVERS_OWN or step["case"].startswith("get after"):
                continue
            answer = bench.answer(step["request"], step)
            if answer is None or not re.search(case, step["case"]):
                continue
            yield scenario, step, agreement(step["response"], *answer), answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="scenarios to replay, a regular expression such as 'pods'")
    parser.add_argument("--case", default="", help="cases to replay, a regular expression such as 'create set'")
    parser.add_argument("--show", type=int, default=15, help="how many disagreeing steps to explain")
    parser.add_argument("--level", choices=LEVELS, default="full")
    options = parser.parse_args()
    per: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: Counter[str] = Counter()
    shown = 0
    for scenario, step, levels, answer in replay(options.only, options.case):
        for group in (scenario.get("resource", "general"), "case: " + " ".join(step["case"].split()[:2]), "TOTAL"):
            per[group]["n"] += 1
            per[group].update(level for level in LEVELS if levels[level])
        if levels[options.level]:
            continue
        lines = explain(step["response"], answer, options.level)
        for line in lines[:3]:
            reasons[re.sub(r"\[\d+\]", "[*]", line)[:100]] += 1
        if shown < options.show:
            shown += 1
            print(f"- {scenario['scenario']} | {step['case']}", *lines, sep="\n    ")
    print("\nmost frequent:")
    for reason, count in reasons.most_common(15):
        print(f"{count:5} {reason}")
    for group, counts in sorted(per.items(), key=lambda item: (item[0] == "TOTAL", item[0])):
        if group.startswith("case: ") and counts["n"] < 5:
            continue
        shares = "  ".join(f"{level} {100 * counts[level] / counts['n']:5.1f}%" for level in LEVELS)
        print(f"{group:40} {counts['n']:5}  {shares}")


if __name__ == "__main__":
    main()
