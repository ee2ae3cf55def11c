import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from sparsam.apiserver.bootstraptokens import bootstrapper
from sparsam.cli.node import node, token_object
from sparsam.errors import SparsamError
from sparsam.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_token_made_is_one_that_the_api_server_takes():
    secret = token_object("abcdef", "0123456789abcdef", NOW + timedelta(hours=1))
    assert base64.b64decode(secret["data"]["expiration"]) == b"2026-01-01T01:00:00Z"
    user = bootstrapper(secret, "abcdef", "0123456789abcdef", NOW)
    assert user.groups[:2] == ("system:bootstrappers", "system:bootstrappers:sparsam:nodes")
    assert bootstrapper(secret, "abcdef", "0123456789abcdef", NOW + timedelta(hours=1)) is None


@pytest.mark.parametrize("ttl", ["", "0h", "24", "1y", "-1h", "1.5h"])
def test_a_time_that_is_none_is_refused(ttl):
    result = CliRunner().invoke(node, ["token", "--ttl", ttl])
    assert result.exit_code == 2
    assert "is not a time" in result.output


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "--listen 0.0.0.0"),
        ({"listen": "127.0.0.2"}, "--listen 0.0.0.0"),
        ({"listen": "192.0.2.1", "nodes": 3}, "use --nodes 1"),
        ({"server": "https://192.0.2.1:6443", "parts": "node"}, "type `sparsam node token` there"),
    ],
    ids=["loopback", "other-loopback", "several-nodes", "joined"],
)
def test_a_cluster_that_others_cannot_reach_invites_nobody(tmp_path, settings, words):
    Settings(data_dir=str(tmp_path), **settings).write(tmp_path / "cluster.json")
    result = CliRunner().invoke(node, ["token", "--data-dir", str(tmp_path)])
    assert isinstance(result.exception, SparsamError)
    assert words in str(result.exception)


def test_joining_needs_an_invitation_and_an_empty_place(tmp_path):
    result = CliRunner().invoke(node, ["join", "--data-dir", str(tmp_path)])
    assert "has not joined yet" in str(result.exception)
    Settings(data_dir=str(tmp_path)).write(tmp_path / "cluster.json")
    result = CliRunner().invoke(node, ["join", "x", "--data-dir", str(tmp_path)])
    assert "a cluster of its own lives in" in str(result.exception)


def test_a_cluster_that_is_down_is_said_in_one_line(tmp_path):
    (tmp_path / "pki").mkdir()
    Settings(data_dir=str(tmp_path), listen="192.0.2.1").write(tmp_path / "cluster.json")
    user, cluster = {"token": "x"}, {"server": "https://127.0.0.1:1"}
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    result = CliRunner().invoke(node, ["token", "--data-dir", str(tmp_path)])
    assert "is the cluster up?" in str(result.exception)
