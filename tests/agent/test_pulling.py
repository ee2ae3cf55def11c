"""Image names, pull policies and credentials."""

from __future__ import annotations

import base64

import msgspec
import pytest

from sparsam.agent.pulling import credentials, normalized, pull_policy
from sparsam.agent.references import Sources


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1", "docker.io/library/busybox:1"),
        ("team/app", "docker.io/team/app:latest"),
        ("registry.test/app:2", "registry.test/app:2"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("host:5000/a/b:1", "host:5000/a/b:1"),
        ("app@sha256:" + "0" * 64, "docker.io/library/app@sha256:" + "0" * 64),
    ],
)
def test_names_get_registry_and_tag(name: str, full: str):
    assert normalized(name) == full


@pytest.mark.parametrize("name", ["", "UPPER", "a b", "app:", "app:" + "x" * 129, "-app", "app@sha256:zz"])
def test_names_against_the_rules_are_refused(name: str):
    with pytest.raises(ValueError, match="invalid reference format"):
        normalized(name)


def test_the_policy_defaults_by_tag():
    policies = [pull_policy({"image": image}) for image in ("app", "app:latest", "app:1", "app@sha256:" + "0" * 64)]
    assert policies == ["Always", "Always", "IfNotPresent", "IfNotPresent"]
    assert pull_policy({"image": "app", "imagePullPolicy": "Never"}) == "Never"


def test_the_longest_matching_key_gives_the_credentials():
    def secret(auths: dict[str, object]) -> dict[str, object]:
        return {"data": {".dockerconfigjson": base64.b64encode(msgspec.json.encode({"auths": auths})).decode()}}

    whole = {"username": "u", "password": "p"}
    team = {"auth": base64.b64encode(b"team:secret").decode()}
    sources = Sources({("Secret", "one"): secret({"https://registry.test": whole, "registry.test/team": team})})
    assert credentials(sources, ["one", "absent"], "registry.test/app:1") == [whole]
    assert credentials(sources, ["one"], "registry.test/team/app:1") == [
        {"username": "team", "password": "secret"},
        whole,
    ]
    assert credentials(sources, ["one"], "other.test/app:1") == []
