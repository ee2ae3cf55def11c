import pytest

from sparsam.objects.jsonpath import compile_path

OBJECT = {
    "metadata": {"annotations": {"example.com/why": "because"}},
    "spec": {"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}], "n": 0},
    "status": {"conditions": [{"type": "Old", "status": "False"}, {"type": "Ready", "status": "True"}]},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.n", [0]),
        ("$.spec.n", [0]),
        (".spec.missing.deeper", []),
        (".spec.ports[0].name", ["a"]),
        (".spec.ports[-1].name", ["b"]),
        (".spec.ports[7].name", []),
        (".spec.ports[*].port", [1, 2]),
        (".spec.ports[0:1].port", [1]),
        (".metadata.annotations['example.com/why']", ["because"]),
        (r".metadata.annotations.example\.com/why", ["because"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        ("..name", ["a", "b"]),
        (".spec.ports[?(@.port>1)].name", ["b"]),
        (".spec.ports[?(@.port)].name", ["a", "b"]),
        ('.spec.ports[?(@.port=="x")].name', []),
        (".spec.ports[?(@.name>1)].name", []),
        (".spec.*", [OBJECT["spec"]["ports"], 0]),
    ],
)
def test_a_path_leads_to_values(path, found):
    assert compile_path(path)(OBJECT) == found


@pytest.mark.parametrize("path", ["spec", ".spec[", ".a b", ".spec[?(@.a==)]", ".spec[?(@.a==b)]", ".spec[x]"])
def test_what_is_not_understood_is_refused(path):
    with pytest.raises(ValueError, match="unrecognized"):
        compile_path(path)
