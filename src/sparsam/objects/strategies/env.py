"""Environment variables of containers: defaults and validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, required
from sparsam.objects.names import config_key_errors, dns_subdomain_errors, relaxed_env_name_errors
from sparsam.objects.strategies import downward
from sparsam.objects.strategies.common import local_descending_path
from sparsam.objects.strategy import Obj

_NO_SOURCE = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
_SEVERAL = "may not have more than one field specified at a time"


def default_env(container: Obj) -> None:
    """Defaults of field references."""
    for variable in container.get("env") or []:
        source = variable.get("valueFrom")
        if source:
            downward.default_field_ref(source.get("fieldRef"))
            downward.default_resource_field_ref(source.get("resourceFieldRef"))
            file_ref = source.get("fileKeyRef")
            if file_ref is not None and file_ref.get("optional") is None:
                file_ref["optional"] = False


def validate_env(variables: list[Obj], path: str) -> list[Cause]:
    """Causes for a list of variables."""
    causes: list[Cause] = []
    for position, variable in enumerate(variables):
        name = variable.get("name")
        if not name:
            causes.append(required(f"{path}[{position}].name"))
        else:
            causes += [invalid(f"{path}[{position}].name", name, error) for error in relaxed_env_name_errors(name)]
        if variable.get("valueFrom") is not None:
            causes += _value_from(variable, f"{path}[{position}].valueFrom")
    return causes


def _value_from(variable: Obj, path: str) -> list[Cause]:
    source = variable["valueFrom"]
    causes: list[Cause] = []
    number = 0
    for kind, check in _SOURCES.items():
        if source.get(kind) is not None:
            number += 1
            causes += check(source[kind], f"{path}.{kind}")
    if number == 0:
        causes.append(invalid(path, "", _NO_SOURCE))
    elif variable.get("value"):
        causes.append(invalid(path, "", "may not be specified when `value` is not empty"))
    elif number > 1:
        causes.append(invalid(path, "", _SEVERAL))
    return causes


def _field_ref(reference: Mapping[str, Any], path: str) -> list[Cause]:
    return downward.validate_field_ref(reference, downward.ENV_FIELDS, path)


def _resource_ref(reference: Mapping[str, Any], path: str) -> list[Cause]:
    return downward.validate_resource_field_ref(reference, path, volume=False)


def _key_ref(reference: Mapping[str, Any], path: str) -> list[Cause]:
    name, key = reference.get("name", ""), reference.get("key", "")
    causes = [invalid(f"{path}.name", name, error) for error in dns_subdomain_errors(name)]
    if not key:
        return [*causes, required(f"{path}.key")]
    return causes + [invalid(f"{path}.key", key, error) for error in config_key_errors(key)]


def _file_ref(reference: Mapping[str, Any], path: str) -> list[Cause]:
    causes: list[Cause] = []
    key = reference.get("key", "")
    if not reference.get("volumeName"):
        causes.append(required(f"{path}.volumeName"))
    if not reference.get("path"):
        causes.append(required(f"{path}.path"))
    else:
        causes += local_descending_path(reference["path"], f"{path}.path")
    if not key:
        return [*causes, required(f"{path}.key")]
    return causes + [invalid(f"{path}.key", key, error) for error in relaxed_env_name_errors(key)]


_SOURCES = {
    "fieldRef": _field_ref,
    "resourceFieldRef": _resource_ref,
    "configMapKeyRef": _key_ref,
    "secretKeyRef": _key_ref,
    "fileKeyRef": _file_ref,
}


def validate_env_from(sources: list[Obj], path: str) -> list[Cause]:
    """Causes for whole ConfigMaps and Secrets taken as variables."""
    causes: list[Cause] = []
    for position, source in enumerate(sources):
        here = f"{path}[{position}]"
        prefix = source.get("prefix")
        if prefix:
            causes += [invalid(f"{here}.prefix", prefix, error) for error in relaxed_env_name_errors(prefix)]
        number = 0
        for kind in ("configMapRef", "secretRef"):
            if source.get(kind) is not None:
                number += 1
                causes += _object_ref(source[kind], f"{here}.{kind}")
        if number == 0:
            causes.append(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif number > 1:
            causes.append(invalid(path, "", _SEVERAL))
    return causes


def _object_ref(reference: Mapping[str, Any], path: str) -> list[Cause]:
    name = reference.get("name")
    if not name:
        return [required(f"{path}.name")]
    # A prefix of a name is enough: upstream checks it as if it were a generateName.
    return [invalid(f"{path}.name", name, error) for error in dns_subdomain_errors(name.rstrip("-") or name)]
