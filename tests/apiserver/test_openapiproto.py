"""The document that kubectl asks for before it sends a List."""

from __future__ import annotations

from sparsam.apiserver.openapiproto import encode
from sparsam.objects.protowire import content, decode

KIND = {"group": "", "version": "v1", "kind": "Namespace"}


def test_an_operation_names_its_kind_and_its_query_parameters():
    patch = {
        "operationId": "patchNamespace",
        "x-kubernetes-group-version-kind": KIND,
        "parameters": [
            {"name": "body", "in": "body"},
            {"name": "fieldValidation", "in": "query", "type": "string"},
        ],
    }
    document = {"swagger": "2.0", "info": {"title": "t", "version": "v"}, "paths": {"/p": {"patch": patch}}}
    found = decode(encode(document))
    assert content(found, 1) == b"2.0"
    path = decode(content(decode(content(found, 8)), 2))
    assert content(path, 1) == b"/p"
    operation = decode(content(decode(content(path, 2)), 7))
    assert content(operation, 5) == b"patchNamespace"
    query = operation
    for number in (8, 1, 2, 3):
        query = decode(content(query, number))
    assert (content(query, 2), content(query, 4)) == (b"query", b"fieldValidation")
    extension = decode(content(operation, 13))
    assert content(extension, 1) == b"x-kubernetes-group-version-kind"
    assert b'"kind": "Namespace"' in content(decode(content(extension, 2)), 2)


def test_a_long_document_keeps_its_lengths():
    paths = {f"/{number}": {"get": {"operationId": "x" * 300}} for number in range(50)}
    found = encode({"swagger": "2.0", "info": {"title": "t", "version": "v"}, "paths": paths})
    assert len(content(decode(found), 8)) > 50 * 300
