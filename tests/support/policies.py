"""Pods and NetworkPolicies for the tests of policies."""

from __future__ import annotations

from typing import Any


def pod(name: str, ip: str, namespace: str = "default", **fields: Any) -> dict[str, Any]:
    ports = [{"name": "web", "containerPort": fields.pop("port", 8080)}]
    labels = fields.pop("labels", {"app": name})
    spec = {"nodeName": fields.pop("node", "n1"), "containers": [{"name": "c", "ports": ports}], **fields}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"metadata": metadata, "spec": spec, "status": {"podIPs": [{"ip": ip}], "phase": "Running"}}


def policy(name: str = "p", namespace: str = "default", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"podSelector": {}, **spec}}
