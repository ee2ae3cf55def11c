import pytest

from sparsam.objects.structural.misfits import find
from sparsam.objects.structural.nodes import parse

PORTS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name", "protocol"],
    "items": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "protocol": {"type": "string", "default": "TCP"}},
    },
}
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "ports": PORTS,
                "n": {"type": "integer"},
                "either": {"x-kubernetes-int-or-string": True},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "any": {"type": "object"},
                "map": {"type": "object", "additionalProperties": {"type": "boolean"}},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "pod": {"type": "object", "x-kubernetes-embedded-resource": True},
            },
        }
    },
}


@pytest.mark.parametrize(
    ("spec", "problems"),
    [
        ({"n": 1, "either": "50%", "open": {"x": 1}, "any": {"y": {}}, "map": {"z": True}}, []),
        ({"foo": 1}, [".spec.foo: field not declared in schema"]),
        ({"n": "1"}, [".spec.n: expected numeric (int or float), got string"]),
        ({"map": {"z": 1}}, [".spec.map.z: expected boolean, got &{1}"]),
        ({"ports": {}}, [".spec.ports: expected list, got &{map[]}"]),
        ({"ports": [{"name": "a"}, {"name": "b", "protocol": "UDP"}]}, []),
        (
            {"ports": [{"protocol": "TCP"}]},
            [
                ".spec.ports: element 0: associative list with keys has an element that omits key field "
                '"name" (and doesn\'t have default value)'
            ],
        ),
        (
            {"ports": [{"name": "a"}, {"name": "a", "protocol": "TCP"}]},
            ['.spec.ports: duplicate entries for key [name="a",protocol="TCP"]'],
        ),
        ({"tags": ["a", "a"]}, ['.spec.tags: duplicate entries for key [="a"]']),
        ({"any": []}, [".spec.any: expected map, got &{[]}"]),
        ({"pod": {"metadata": {"x": 1}, "kind": "Pod"}}, [".spec.pod.metadata.x: field not declared in schema"]),
        (None, []),
    ],
)
def test_what_does_not_fit_is_named_with_its_path(spec, problems):
    config = {"apiVersion": "example.com/v1", "kind": "K", "metadata": {"name": "n"}, "spec": spec}
    assert list(find(parse(SCHEMA), config)) == problems


def test_metadata_is_that_of_every_object():
    assert list(find(parse(SCHEMA), {"metadata": {"foo": 1}, "more": 2})) == [
        ".metadata.foo: field not declared in schema",
        ".more: field not declared in schema",
    ]
