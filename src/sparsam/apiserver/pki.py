"""The cluster's own certificate authority and the certificates that it signs.

Everything lives as PEM files in one directory; what exists is kept, what is missing or near its end is made.
Layout and identities follow the Kubernetes documents "PKI certificates and requirements" and "Authenticating".
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=60)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Identity:
    """What a leaf certificate says: a file name, a user (CN), its groups (O) and, for servers, names and addresses."""

    file: str
    user: str
    groups: tuple[str, ...] = ()
    sans: tuple[str, ...] = ()

    @property
    def is_server(self) -> bool:
        """Server certificates carry subject alternative names, client certificates do not."""
        return bool(self.sans)


ADMIN = Identity("admin", "kubernetes-admin", ("system:masters",))
CONTROL = Identity("control", "system:kube-controller-manager")
SCHEDULER = Identity("scheduler", "system:kube-scheduler")
PROXY = Identity("proxy", "system:kube-proxy")
FRONT_PROXY_CLIENT = Identity("front-proxy-client", "front-proxy-client")
"""How this server shows itself to servers that it passes requests on to; signed by an authority of its own."""
KUBELET_CLIENT = Identity("kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",))


def node_identity(node_name: str) -> Identity:
    """The client identity of a node's agent, as the Node authorizer expects it."""
    return Identity(f"node-{node_name}", f"system:node:{node_name}", ("system:nodes",))


def node_serving_identity(node_name: str, node_ips: Iterable[str]) -> Identity:
    """The serving certificate of a node's agent."""
    sans = (node_name, *node_ips, "127.0.0.1")
    return Identity(f"node-{node_name}-serving", f"system:node:{node_name}", ("system:nodes",), sans)


def ensure_pki(pki_dir: Path, *, sans: Iterable[str], identities: Iterable[Identity] = ()) -> None:
    """Make what is missing: authorities, the server's certificate for `sans`, the service account key, and leaves."""
    pki_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca_key, ca = _ensure_ca(pki_dir, "ca", "sparsam-ca")
    front_key, front = _ensure_ca(pki_dir, "front-proxy-ca", "sparsam-front-proxy-ca")
    _ensure_leaf(pki_dir, FRONT_PROXY_CLIENT, front, front_key)
    apiserver = Identity("apiserver", "kube-apiserver", (), tuple(dict.fromkeys(sans)))
    for identity in (apiserver, KUBELET_CLIENT, ADMIN, CONTROL, SCHEDULER, PROXY, *identities):
        _ensure_leaf(pki_dir, identity, ca, ca_key)
    if not (pki_dir / "sa.key").exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        _write(pki_dir / "sa.key", _key_pem(key))
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        _write(pki_dir / "sa.pub", public)


def _ensure_ca(pki_dir: Path, file: str, common_name: str) -> tuple[PrivateKey, x509.Certificate]:
    key_path, cert_path = pki_dir / f"{file}.key", pki_dir / f"{file}.crt"
    if key_path.exists() and cert_path.exists():
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError(f"{key_path} holds neither an EC nor an RSA key")
        return key, x509.load_pem_x509_certificate(cert_path.read_bytes())
    new_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    cert = (
        _builder(name, name, new_key, CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(certificate_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(new_key.public_key()), critical=False)
        .sign(new_key, hashes.SHA256())
    )
    _write(key_path, _key_pem(new_key))
    _write(cert_path, cert.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return new_key, cert


def _ensure_leaf(pki_dir: Path, identity: Identity, ca: x509.Certificate, ca_key: PrivateKey) -> None:
    cert_path, key_path = pki_dir / f"{identity.file}.crt", pki_dir / f"{identity.file}.key"
    if key_path.exists() and cert_path.exists() and _still_good(cert_path, key_path, identity, ca):
        return
    key = ec.generate_private_key(ec.SECP256R1())
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in identity.groups]
    subject = x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, identity.user)])
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if identity.is_server else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        _builder(subject, ca.subject, key, LEAF_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificate_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(_authority_key(ca), critical=False)
    )
    if identity.is_server:
        names = [_general_name(san) for san in identity.sans]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    cert = builder.sign(ca_key, hashes.SHA256())
    _write(key_path, _key_pem(key))
    _write(cert_path, cert.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _still_good(cert_path: Path, key_path: Path, identity: Identity, ca: x509.Certificate) -> bool:
    cert = x509.load_pem_x509_certificate(cert_path.read_bytes())
    if cert.not_valid_after_utc - datetime.now(UTC) < RENEW_BEFORE:
        return False
    if cert.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value != _authority_key(ca):
        return False
    # A crash between writing the two can have left an old key with a new certificate.
    key = serialization.load_pem_private_key(key_path.read_bytes(), None)
    if key.public_key() != cert.public_key():
        return False
    if not identity.is_server:
        return True
    known = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(known) == {_general_name(san) for san in identity.sans}


def _authority_key(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    subject_key = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key)


def _builder(subject: x509.Name, issuer: x509.Name, key: PrivateKey, lifetime: timedelta) -> x509.CertificateBuilder:
    # Five minutes back, so that a node whose clock lags a little can join at once.
    start = datetime.now(UTC) - timedelta(minutes=5)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + lifetime)
    )


def _usage(*, certificate_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not certificate_authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificate_authority,
        crl_sign=certificate_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(san: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(san))
    except ValueError:
        return x509.DNSName(san)


def _key_pem(key: PrivateKey) -> bytes:
    # The old form, which names the kind of key: the Kubernetes client of Java takes every PKCS #8 key for RSA.
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    # Written beside and renamed, so that a crash never leaves half a key behind.
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    beside.replace(path)
