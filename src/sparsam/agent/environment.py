"""A container's environment and its `$(VAR)` references, as upstream resolves them. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from sparsam.agent.downward import PodFacts, field_value, resource_value
from sparsam.agent.envfiles import parse_env_file
from sparsam.agent.podspec import Obj
from sparsam.agent.references import CONFIG_MAP, SECRET, ConfigFault, Sources

_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)`; `$$` is a plain dollar; unknown names stay as written."""

    def replacement(match: re.Match[str]) -> str:
        return "$" if match[1] == "$" else variables.get(match[2], match[0])

    return _REFERENCE.sub(replacement, text)


def expand_all(text: str, variables: Mapping[str, str]) -> str:
    """The same where every name must have a value; raises ConfigFault."""
    names = {match[2] for match in _REFERENCE.finditer(text) if match[1] != "$"}
    if missing := sorted(name for name in names if not variables.get(name)):
        raise ConfigFault(f"missing value for {', '.join(missing)}")
    return expand(text, variables)


ReadFile = Callable[[str, str], str | None]
"""Text of a file in a volume, by volume name and path; None when there is none. Raises ConfigFault."""


def container_environment(
    spec: Obj, facts: PodFacts, sources: Sources, service_variables: Mapping[str, str], read_file: ReadFile
) -> dict[str, str]:
    """All variables: services first, overridden by envFrom, overridden by env. Raises ConfigFault."""
    own: dict[str, str] = {}
    for source in spec.get("envFrom") or ():
        own.update(_from_source(source, sources))
    known = {**service_variables, **own}
    for variable in spec.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fileKeyRef")
        value = _file_entry(reference, read_file) if reference else _value(variable, spec, facts, sources, known)
        if value is not None:
            own[variable["name"]] = known[variable["name"]] = value
    return {**service_variables, **own}


def service_environment(services: Iterable[Obj], namespace: str, links: bool) -> dict[str, str]:
    """Variables for the services of a namespace and for `kubernetes`, in the two styles that upstream offers."""
    chosen: dict[str, Obj] = {}
    for service in services:
        name, home = service["metadata"]["name"], service["metadata"]["namespace"]
        if service["spec"].get("clusterIP") in (None, "", "None"):
            continue
        if home == "default" and name == "kubernetes":
            chosen.setdefault(name, service)
        if links and home == namespace:
            chosen[name] = service
    variables: dict[str, str] = {}
    for name, service in sorted(chosen.items()):
        variables.update(_service_variables(name, service["spec"]))
    return variables


def _service_variables(name: str, spec: Obj) -> dict[str, str]:
    prefix = name.upper().replace("-", "_")
    ip = spec["clusterIP"]
    host = f"[{ip}]" if ":" in ip else ip
    variables = {f"{prefix}_SERVICE_HOST": ip}
    ports = spec.get("ports") or []
    if ports:
        variables[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
    for number, port in enumerate(ports):
        if port.get("name"):
            variables[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
        protocol = port.get("protocol", "TCP")
        url = f"{protocol.lower()}://{host}:{port['port']}"
        base = f"{prefix}_PORT_{port['port']}_{protocol}"
        if number == 0:
            variables[f"{prefix}_PORT"] = url
        variables.update(
            {base: url, f"{base}_PROTO": protocol.lower(), f"{base}_PORT": str(port["port"]), f"{base}_ADDR": ip}
        )
    return variables


def _from_source(source: Obj, sources: Sources) -> dict[str, str]:
    for field, kind in (("configMapRef", CONFIG_MAP), ("secretRef", SECRET)):
        if field in source:
            data = sources.data(kind, source[field].get("name", ""), bool(source[field].get("optional")), text=True)
            prefix = source.get("prefix", "")
            return {f"{prefix}{key}": value.decode(errors="replace") for key, value in sorted((data or {}).items())}
    return {}


def _value(variable: Obj, spec: Obj, facts: PodFacts, sources: Sources, known: Mapping[str, str]) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        return expand(variable.get("value") or "", known)
    if "fieldRef" in source:
        return field_value(facts, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource_value(facts, source["resourceFieldRef"], spec)
    for field, kind, label in (("configMapKeyRef", CONFIG_MAP, "ConfigMap"), ("secretKeyRef", SECRET, "Secret")):
        if field in source:
            return _entry(source[field], kind, label, facts, sources)
    raise ConfigFault(f"environment variable {variable['name']}: valueFrom {', '.join(source)} is not supported")


def _file_entry(reference: Obj, read_file: ReadFile) -> str | None:
    path, key, optional = reference["path"], reference["key"], bool(reference.get("optional"))
    text = read_file(reference["volumeName"], path)
    if text is None and not optional:
        raise ConfigFault(f'environment variable file "{path}" not found in volume "{reference["volumeName"]}"')
    try:
        found = parse_env_file(text or "")
    except ValueError as error:
        raise ConfigFault(f'couldn\'t parse env file "{path}": {error}') from error
    if key not in found and not optional:
        raise ConfigFault(f'environment variable key "{key}" not found in file "{path}"')
    return found.get(key)


def _entry(reference: Obj, kind: str, label: str, facts: PodFacts, sources: Sources) -> str | None:
    name, key, optional = reference.get("name", ""), reference["key"], bool(reference.get("optional"))
    data = sources.data(kind, name, optional, text=True)
    if data is not None and key in data:
        return data[key].decode(errors="replace")
    if optional:
        return None
    raise ConfigFault(f"couldn't find key {key} in {label} {facts.pod['metadata']['namespace']}/{name}")
