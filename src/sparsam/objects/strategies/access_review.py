"""Access reviews: about whom, and about which one thing, a client may ask.

Reviews are answered and never stored, so the create pipeline does not see them; whoever answers one calls `validate`.
"""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import invalid
from sparsam.objects.strategy import Obj, Strategy

_GROUP = "authorization.k8s.io"


def validate_access_review(review: Obj) -> list[Cause]:
    """Causes for a SubjectAccessReview."""
    return _about_one_thing(review) + _about_somebody(review) + _no_metadata(review)


def validate_self_access_review(review: Obj) -> list[Cause]:
    """Causes for a SelfSubjectAccessReview."""
    return _about_one_thing(review) + _no_metadata(review)


def validate_local_access_review(review: Obj) -> list[Cause]:
    """Causes for a LocalSubjectAccessReview, whose metadata.namespace is already the request's."""
    causes = _about_one_thing(review) + _about_somebody(review)
    metadata = review.get("metadata") or {}
    if any(value for name, value in metadata.items() if name not in ("namespace", "managedFields")):
        causes.append(invalid("metadata", metadata, "must be empty except for namespace"))
    spec = review.get("spec") or {}
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None:
        namespace = resource.get("namespace") or ""
        if namespace != (metadata.get("namespace") or ""):
            causes.append(invalid("spec.resourceAttributes.namespace", namespace, "must match metadata.namespace"))
    if path is not None:
        causes.append(invalid("spec.nonResourceAttributes", path, "disallowed on this kind of request"))
    return causes


def _about_one_thing(review: Obj) -> list[Cause]:
    spec = review.get("spec") or {}
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        detail = "cannot be specified in combination with resourceAttributes"
        return [invalid("spec.nonResourceAttributes", path, detail)]
    if resource is None and path is None:
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [invalid("spec.resourceAttributes", None, detail)]
    return []


def _about_somebody(review: Obj) -> list[Cause]:
    spec = review.get("spec") or {}
    if spec.get("user") or spec.get("groups"):
        return []
    return [invalid("spec.user", "", "at least one of user or group must be specified")]


def _no_metadata(review: Obj) -> list[Cause]:
    metadata = review.get("metadata") or {}
    if any(value for name, value in metadata.items() if name != "managedFields"):
        return [invalid("metadata", metadata, "must be empty")]
    return []


STRATEGIES = {
    (_GROUP, "SubjectAccessReview"): Strategy(validate=validate_access_review, has_status=False),
    (_GROUP, "SelfSubjectAccessReview"): Strategy(validate=validate_self_access_review, has_status=False),
    (_GROUP, "LocalSubjectAccessReview"): Strategy(validate=validate_local_access_review, has_status=False),
}
