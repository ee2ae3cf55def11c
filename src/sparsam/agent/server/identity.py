"""Who may enter a node's server: the API server and cluster administrators, by certificate."""

from __future__ import annotations

ADMINISTRATORS = "system:masters"
API_SERVER = "kube-apiserver-kubelet-client"


def may_enter(subject: object) -> bool:
    """Whether a verified certificate's subject (as `ssl.SSLSocket.getpeercert` gives it) may ask for anything."""
    if not isinstance(subject, tuple):
        return False
    pairs = [pair for relative_name in subject for pair in relative_name]
    return ("organizationName", ADMINISTRATORS) in pairs or ("commonName", API_SERVER) in pairs
