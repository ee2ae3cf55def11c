"""Bootstrap tokens and signing requests as a joining node makes them."""

import base64
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
USER_SIGNER = "kubernetes.io/kube-apiserver-client"
USAGES = {CLIENT_SIGNER: "client auth", SERVING_SIGNER: "server auth", USER_SIGNER: "client auth"}


def token_secret(token_id="abcdef", secret="0123456789abcdef", **changes):
    """The Secret of a bootstrap token; `changes` replace data fields (with _ for -), None removes one."""
    data = {
        "token-id": token_id,
        "token-secret": secret,
        "usage-bootstrap-authentication": "true",
        "expiration": "2099-01-01T00:00:00Z",
    }
    data |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": f"bootstrap-token-{token_id}", "namespace": "kube-system"},
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in data.items() if value is not None},
    }


def signing_request(
    name="csr", *, user="system:node:n1", groups=("system:nodes",), signer=CLIENT_SIGNER, sans=(), usages=None, key=None
):
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, user))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if sans:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([general_name(san) for san in sans]), critical=False
        )
    pem = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(
        serialization.Encoding.PEM
    )
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": base64.b64encode(pem).decode(),
            "signerName": signer,
            "usages": list(usages or ("digital signature", USAGES[signer])),
        },
    }


def general_name(san):
    try:
        return x509.IPAddress(ip_address(san))
    except ValueError:
        return x509.DNSName(san)
