"""ConfigMaps and Secrets: keyed data, possibly immutable."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, key, required, too_long
from sparsam.objects.names import config_key_errors, validate_immutable
from sparsam.objects.strategy import Obj, Strategy

MAX_BYTES = 1024 * 1024
_IMMUTABLE_TEXT = "field is immutable when `immutable` is set"
_REDACTED = "<secret contents redacted>"
_DOCKER_KEYS = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}
_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_CERTIFICATE_MARK = b"-----BEGIN"


def _immutable(new: Obj, old: Obj, fields: tuple[str, ...]) -> list[Cause]:
    if not old.get("immutable"):
        return []
    causes = [] if new.get("immutable") else [forbidden("immutable", _IMMUTABLE_TEXT)]
    changed = [field for field in fields if (new.get(field) or {}) != (old.get(field) or {})]
    return causes + [forbidden(field, _IMMUTABLE_TEXT) for field in changed]


def validate_config_map(config: Obj) -> list[Cause]:
    """Causes for a ConfigMap."""
    data, binary = config.get("data") or {}, config.get("binaryData") or {}
    causes: list[Cause] = []
    size = 0
    for name, value in data.items():
        causes += [invalid(key("data", name), name, error) for error in config_key_errors(name)]
        if name in binary:
            causes.append(invalid(key("data", name), name, "duplicate of key present in binaryData"))
        size += len(value.encode())
    for name, value in binary.items():
        causes += [invalid(key("binaryData", name), name, error) for error in config_key_errors(name)]
        size += _decoded_length(value)
    return [*causes, too_long("", MAX_BYTES)] if size > MAX_BYTES else causes


def _decoded_length(text: str) -> int:
    return len(text) * 3 // 4 - text[-2:].count("=")


def update_config_map(new: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed ConfigMap."""
    return _immutable(new, old, ("data", "binaryData")) + validate_config_map(new)


def default_secret(secret: Obj) -> None:
    """The default type; plain text given as stringData becomes data."""
    if not secret.get("type"):
        secret["type"] = "Opaque"
    plain = secret.pop("stringData", None)
    if plain:
        data = secret.get("data")
        if data is None:
            data = secret["data"] = {}
        for name, value in plain.items():
            data[name] = base64.b64encode(value.encode()).decode()


def prepare_secret_update(new: Obj, old: Obj) -> None:
    """A client that leaves out the type means the one it has."""
    if not new.get("type"):
        new["type"] = old.get("type", "")


def validate_secret(secret: Obj) -> list[Cause]:
    """Causes for a Secret, by its type."""
    data = secret.get("data") or {}
    causes: list[Cause] = []
    for name in data:
        causes += [invalid(key("data", name), name, error) for error in config_key_errors(name)]
    if sum(map(_decoded_length, data.values())) > MAX_BYTES:
        causes.append(too_long("data", MAX_BYTES))
    return causes + _typed(secret.get("type", ""), data, secret)


def _typed(kind: str, data: Mapping[str, str], secret: Obj) -> list[Cause]:
    if kind in _DOCKER_KEYS:
        return _docker(data, _DOCKER_KEYS[kind])
    if kind == "kubernetes.io/service-account-token":
        annotations = (secret.get("metadata") or {}).get("annotations") or {}
        return [] if annotations.get(_ACCOUNT_NAME) else [required(key("metadata.annotations", _ACCOUNT_NAME))]
    if kind == "kubernetes.io/basic-auth":
        names = ("username", "password")
        return [] if any(name in data for name in names) else [required(key("data", name)) for name in names]
    if kind == "kubernetes.io/ssh-auth":
        return [] if data.get("ssh-privatekey") else [required(key("data", "ssh-privatekey"))]
    if kind == "kubernetes.io/tls":
        return [required(key("data", name)) for name in ("tls.crt", "tls.key") if name not in data]
    return []


def _docker(data: Mapping[str, str], name: str) -> list[Cause]:
    if name not in data:
        return [required(key("data", name))]
    error = _json_error(_decode(data[name]))
    return [invalid(key("data", name), _REDACTED, error)] if error else []


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return b""


def _json_error(content: bytes) -> str:
    """What Go says of content that is no JSON object; empty when it is one."""
    stripped = content.strip()
    if not stripped:
        return "unexpected end of JSON input"
    try:
        value: Any = msgspec.json.decode(stripped)
    except msgspec.DecodeError as error:
        if "truncated" in str(error):
            return "unexpected end of JSON input"
        if stripped[:1] not in b'{["-0123456789tfn':
            first = stripped[:1].decode("latin-1")
            return f"invalid character '{first}' looking for beginning of value"
        return "invalid character in JSON text"
    if value is None or isinstance(value, dict):
        return ""
    kinds = {bool: "bool", str: "string", list: "array"}
    kind = kinds.get(type(value), "number")
    return f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"


def update_secret(new: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed Secret."""
    causes = validate_immutable(new.get("type", ""), old.get("type", ""), "type")
    return causes + _immutable(new, old, ("data",)) + validate_secret(new)


def secret_warnings(new: Obj, _old: Obj | None) -> list[str]:
    """A warning for a TLS Secret without a certificate."""
    if new.get("type") != "kubernetes.io/tls":
        return []
    if _CERTIFICATE_MARK in _decode((new.get("data") or {}).get("tls.crt", "")):
        return []
    return ["tls: failed to find any PEM data in certificate input"]


STRATEGIES = {
    ("", "ConfigMap"): Strategy(validate=validate_config_map, validate_update=update_config_map, has_status=False),
    ("", "Secret"): Strategy(
        default=default_secret,
        prepare_update=prepare_secret_update,
        validate=validate_secret,
        validate_update=update_secret,
        warnings=secret_warnings,
        has_status=False,
    ),
}
