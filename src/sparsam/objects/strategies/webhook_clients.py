"""How the API server reaches a webhook: a URL or a service, and what may stand there."""

from __future__ import annotations

from urllib.parse import urlsplit

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, invalid, required
from sparsam.objects.names import dns1035_label_errors, dns_subdomain_errors
from sparsam.objects.strategies.common import inclusive
from sparsam.objects.strategy import Obj

SERVICE_PORT = 443
REVIEW_VERSIONS = ("v1", "v1beta1")
_FORM = "desired format: https://host[/path]"


def default_client(client: Obj | None) -> None:
    """Services answer on the port of HTTPS."""
    service = (client or {}).get("service")
    if service is not None and service.get("port") is None:
        service["port"] = SERVICE_PORT


def validate_client(client: Obj, path: str) -> list[Cause]:
    """Causes for a webhook's clientConfig."""
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        return [required(path, "exactly one of url or service is required")]
    if url is not None:
        return _url(url, f"{path}.url")
    return _service(service or {}, f"{path}.service")


def _url(url: str, path: str) -> list[Cause]:
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError as error:
        return [required(path, f"url must be a valid URL: {error}; {_FORM}")]
    causes: list[Cause] = []
    if parts.scheme != "https":
        causes.append(invalid(path, parts.scheme, f"'https' is the only allowed URL scheme; {_FORM}"))
    if not host:
        causes.append(invalid(path, host, f"host must be specified; {_FORM}"))
    if "@" in parts.netloc:
        user = parts.netloc.rpartition("@")[0]
        causes.append(invalid(path, user, "user information is not permitted in the URL"))
    if parts.fragment:
        causes.append(invalid(path, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        causes.append(invalid(path, parts.query, "query parameters are not permitted in the URL"))
    return causes


def _service(service: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if not service.get("name"):
        causes.append(required(f"{path}.name", "service name is required"))
    if not service.get("namespace"):
        causes.append(required(f"{path}.namespace", "service namespace is required"))
    port = service.get("port", SERVICE_PORT)
    if not 1 <= port <= 65535:
        causes.append(invalid(f"{path}.port", port, f"port is not valid: {inclusive(1, 65535)}"))
    location = service.get("path")
    return causes + (_service_path(location, f"{path}.path") if location is not None else [])


def _service_path(location: str, path: str) -> list[Cause]:
    if location in ("", "/"):
        return []
    if location == "//":
        return [invalid(path, location, "segment[0] may not be empty")]
    if not location.startswith("/"):
        return [invalid(path, location, "must start with a '/'")]
    causes: list[Cause] = []
    for position, segment in enumerate(location[1:].removesuffix("/").split("/")):
        if not segment:
            causes.append(invalid(path, location, f"segment[{position}] may not be empty"))
        else:
            causes += [
                invalid(path, location, f"segment[{position}]: {error}") for error in dns_subdomain_errors(segment)
            ]
    return causes


def validate_review_versions(versions: list[str], path: str) -> list[Cause]:
    """Causes for the versions of a review that a webhook understands."""
    known = ", ".join(REVIEW_VERSIONS)
    if not versions:
        return [required(path, f"must specify one of {known}")]
    causes: list[Cause] = []
    for position, version in enumerate(versions):
        if version in versions[:position]:
            causes.append(duplicate(f"{path}[{position}]", version))
        causes += [invalid(f"{path}[{position}]", version, error) for error in dns1035_label_errors(version)]
    if not any(version in REVIEW_VERSIONS for version in versions):
        causes.append(invalid(path, versions, f"must include at least one of {known}"))
    return causes
