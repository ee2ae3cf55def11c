"""Rules of roles, written down in a line each."""

from __future__ import annotations

from typing import Any

from sparsam.objects.strategy import Obj

READ = "get list watch"
WRITE = "create delete deletecollection patch update"
EVERY_VERB = "create delete deletecollection get list patch update watch"


def rule(verbs: str, group: str, resources: str, names: str = "") -> Obj:
    """On resources of a group, all of them by words between spaces; the group `*` is every group."""
    found: dict[str, Any] = {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}
    return {**found, "resourceNames": names.split()} if names else found


def paths(verbs: str, stated: str) -> Obj:
    """On paths that are no resources."""
    return {"nonResourceURLs": stated.split(), "verbs": verbs.split()}


EVENTS = rule("create patch update", "", "events") | {"apiGroups": ["", "events.k8s.io"]}
"""What those who report may do with events, of either group."""
