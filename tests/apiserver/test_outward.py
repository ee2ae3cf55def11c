import base64
import socket
import ssl
from types import SimpleNamespace

import aiohttp
import pytest

from sparsam.apiserver.outward import identified, trusting, why
from tests.support.webhooks import certify


def test_a_bundle_is_all_that_is_trusted(tmp_path):
    authority, chain = certify(("localhost",), tmp_path)
    bundle = base64.b64encode(authority).decode()
    context = trusting(bundle)
    assert [dict(each[0] for each in cert["subject"])["commonName"] for cert in context.get_ca_certs()] == [
        "test-webhook-ca"
    ]
    assert trusting(bundle) is context
    assert context.check_hostname
    chain.rename(tmp_path / "front.crt")
    (tmp_path / "front.key").write_bytes((tmp_path / "front.crt").read_bytes())
    unverified = identified("", tmp_path / "front.crt", verify=False)
    assert (unverified.check_hostname, unverified.verify_mode) == (False, ssl.CERT_NONE)


@pytest.mark.parametrize("bundle", ["!", base64.b64encode(b"no certificate").decode()])
def test_a_bundle_without_certificates_is_refused(bundle):
    with pytest.raises(ValueError, match="unable to load root certificates"):
        trusting(bundle)


def certificate_error(code, message):
    error = ssl.SSLCertVerificationError(1, message)
    error.verify_code, error.verify_message = code, message
    return aiohttp.ClientConnectorCertificateError(SimpleNamespace(host="h", port=1, is_ssl=True), error)


def connector_error(error):
    return aiohttp.ClientConnectorError(SimpleNamespace(host="h", port=1, is_ssl=True, ssl=True), error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "context deadline exceeded"),
        (certificate_error(20, "x"), "tls: failed to verify certificate: x509: certificate signed by unknown authority"),
        (certificate_error(10, "x"), "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"),
        (
            certificate_error(62, "x"),
            "tls: failed to verify certificate: x509: certificate is not valid for any names, but wanted to match s.n.svc",
        ),
        (certificate_error(99, "odd"), "tls: failed to verify certificate: x509: odd"),
        (connector_error(ConnectionRefusedError(111, "no")), "dial tcp 10.0.0.1:443: connect: connection refused"),
        (connector_error(OSError(113, "no route to host")), "dial tcp 10.0.0.1:443: no route to host"),
        (connector_error(socket.gaierror(-2, "x")), "dial tcp: lookup s.n.svc: no such host"),
        (aiohttp.ServerDisconnectedError(), "EOF"),
        (ValueError("something"), "something"),
        (ValueError(), "ValueError"),
    ],
)  # fmt: skip
def test_failures_are_told_as_go_tells_them(error, words):
    assert why(error, "s.n.svc", "10.0.0.1:443") == words
