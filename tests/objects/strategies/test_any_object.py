"""Whatever the schema lets through, a strategy answers with causes, never with a failure of its own."""

import json
import random

import pytest

from sparsam.errors import Invalid
from sparsam.objects import pipeline
from sparsam.objects.kinds import RESOURCES
from sparsam.objects.strategies import strategy_for
from tests.support.objects import body, context
from tests.support.random_objects import random_object

STORED = [resource for resource in RESOURCES if "watch" in resource.verbs]
ROUNDS = 12


def decoded(chance, resource):
    return pipeline.decode(resource, body(random_object(chance, resource)), "application/json", context())[0]


@pytest.mark.parametrize("resource", STORED, ids=lambda resource: f"{resource.plural}.{resource.group}")
def test_any_object_is_created_or_refused(resource):
    chance = random.Random(resource.plural)
    for _ in range(ROUNDS):
        obj = decoded(chance, resource)
        try:
            made, _ = pipeline.create(resource, obj, context())
        except Invalid as error:
            assert error.details["causes"]
        else:
            json.dumps(made)


@pytest.mark.parametrize("subresource", ["", "status"])
@pytest.mark.parametrize("resource", STORED, ids=lambda resource: f"{resource.plural}.{resource.group}")
def test_any_object_replaces_another_or_is_refused(resource, subresource):
    chance = random.Random(resource.plural)
    for _ in range(ROUNDS):
        old, new = decoded(chance, resource), decoded(chance, resource)
        strategy_for(resource).default(old)
        old["metadata"] |= {"uid": "u", "creationTimestamp": "2026-01-02T03:04:05Z"}
        if resource.namespaced:
            old["metadata"]["namespace"] = "t"
        try:
            pipeline.update(resource, new, old, context(), subresource=subresource)
        except Invalid as error:
            assert error.details["causes"]
