"""Who somebody is by client certificate, and who needs no permission: the API server and cluster administrators."""

from __future__ import annotations

from dataclasses import dataclass

ADMINISTRATORS = "system:masters"
API_SERVER = "kube-apiserver-kubelet-client"
_EVERYBODY_KNOWN = "system:authenticated"


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who proved an identity."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


def caller_of(subject: object) -> Caller | None:
    """Whom a verified certificate's subject names (as `ssl.SSLSocket.getpeercert` gives it); None for nobody."""
    if not isinstance(subject, tuple):
        return None
    pairs = [pair for relative_name in subject for pair in relative_name]
    name = next((value for key, value in pairs if key == "commonName"), "")
    groups = [value for key, value in pairs if key == "organizationName"]
    return Caller(name, (*groups, _EVERYBODY_KNOWN)) if name else None


def may_enter(caller: Caller | None) -> bool:
    """Whether somebody may ask for anything."""
    return caller is not None and (ADMINISTRATORS in caller.groups or caller.name == API_SERVER)
