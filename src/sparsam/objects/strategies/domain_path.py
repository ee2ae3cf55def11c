"""Names such as `example.com/controller`: a domain, a slash and a path."""

from __future__ import annotations

import re

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, required
from sparsam.objects.names import dns_subdomain_errors, pattern_text

_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_PATH_RE = re.compile(_PATH + r"\Z", re.ASCII)


def validate_domain_path(value: str, path: str) -> list[Cause]:
    """Causes for a text that is not a domain-prefixed path."""
    if not value:
        return [required(path)]
    domain, slash, rest = value.partition("/")
    if not (slash and domain and rest):
        return [invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    causes = [invalid(path, domain, error) for error in dns_subdomain_errors(domain)]
    if not _PATH_RE.match(rest):
        causes.append(invalid(path, rest, pattern_text("Invalid path", _PATH)))
    return causes
