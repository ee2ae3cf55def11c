"""Pods as clients send them, and pods as the pipeline leaves them."""

import json

from sparsam.objects import pipeline
from sparsam.objects.kinds import PODS, find
from sparsam.objects.strategies import strategy_for

CONTEXT = pipeline.Context(now="2026-01-02T03:04:05Z", uid="uid-1", name_suffix="abcde", namespace="t")


def pod(containers=None, **spec):
    """A pod of one container, or with the spec given."""
    spec = {"containers": [{"name": "c", "image": "i"}] if containers is None else containers} | spec
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "t"}, "spec": spec}


def with_container(**fields):
    """A pod whose only container has these fields too."""
    return pod([{"name": "c", "image": "i"} | fields])


def checked(obj, plural="pods", group=""):
    """(object after defaults and preparation, its causes as (reason, field) pairs)."""
    resource = find(group, "v1", plural)
    strategy = strategy_for(resource)
    obj = json.loads(json.dumps(obj))
    obj.setdefault("metadata", {"name": "o", "namespace": "t"})
    strategy.default(obj)
    obj["metadata"] |= {"uid": "uid-1", "creationTimestamp": CONTEXT.now}
    strategy.prepare_create(obj)
    return obj, pairs(strategy.validate(obj))


def changed(new, old, plural="pods", group=""):
    """Causes of an update from one object to another, both created first."""
    strategy = strategy_for(find(group, "v1", plural))
    new, old = json.loads(json.dumps(new)), json.loads(json.dumps(old))
    strategy.default(new)
    strategy.prepare_update(new, old)
    return new, pairs(strategy.validate_update(new, old))


def pairs(causes):
    return [(cause.reason.removeprefix("FieldValue"), cause.field) for cause in causes]


def stored_pod(**spec):
    """A pod as the server keeps it."""
    return pipeline.create(PODS, pod(**spec), CONTEXT)[0]
