"""Keys and certificates on disk, as other programs read them."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sparsam.apiserver.pki import ensure_pki, node_identity


def test_keys_say_of_what_kind_they_are(tmp_path: Path):
    ensure_pki(tmp_path, sans=["localhost"], identities=[node_identity("a")])
    heads = {path.name: path.read_text().splitlines()[0] for path in tmp_path.glob("*.key")}
    assert {"ca.key", "apiserver.key", "admin.key", "node-a.key"} < heads.keys()
    assert heads.pop("sa.key") == "-----BEGIN RSA PRIVATE KEY-----"
    assert set(heads.values()) == {"-----BEGIN EC PRIVATE KEY-----"}
    key = load_pem_private_key((tmp_path / "admin.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
