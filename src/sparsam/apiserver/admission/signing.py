"""Certificate signing requests: the server says who asks, and who may approve and sign them.

Upstream's plug-ins CertificateApproval, CertificateSigning and CertificateSubjectRestriction; the API reference on
admission controllers has their rules.
"""

from __future__ import annotations

import base64
import binascii

from cryptography import x509
from cryptography.x509.oid import NameOID

from sparsam.apiserver.admission import Admit, Attributes, Reader, forbidden
from sparsam.apiserver.authentication import User
from sparsam.apiserver.authorization import Action, Authorizer
from sparsam.objects.kinds import CERTIFICATESIGNINGREQUESTS
from sparsam.objects.strategy import Obj

_USER_SIGNER = "kubernetes.io/kube-apiserver-client"
_MASTERS = "system:masters"
_VERBS = {"approval": "approve", "status": "sign"}


class SigningPermission:
    """Who decides on a request, or signs it, needs that verb on its signer; nobody becomes a master this way."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def __call__(self, attributes: Attributes, new: Obj, old: Obj | None, _reader: Reader) -> list[str]:
        """No warnings; raises Forbidden."""
        if attributes.resource is not CERTIFICATESIGNINGREQUESTS:
            return []
        if attributes.operation == "CREATE" and not attributes.subresource:
            _refuse_masters(attributes, new)
        elif old is not None and attributes.subresource in _VERBS and _decides(attributes.subresource, new, old):
            verb, signer = _VERBS[attributes.subresource], old["spec"]["signerName"]
            if not self._allows(attributes.user, verb, signer):
                raise forbidden(attributes, new, f'user not permitted to {verb} requests with signerName "{signer}"')
        return []

    def _allows(self, user: User, verb: str, signer: str) -> bool:
        names = (signer, signer.partition("/")[0] + "/*")
        actions = (Action(verb=verb, group="certificates.k8s.io", resource="signers", name=name) for name in names)
        return any(self._authorizer.allows(user, action) for action in actions)


def _decides(subresource: str, new: Obj, old: Obj) -> bool:
    """Whether a change is a signer's: of a status only certificate and conditions are."""
    before, after = old.get("status") or {}, new.get("status") or {}
    return subresource == "approval" or any(
        before.get(name) != after.get(name) for name in ("certificate", "conditions")
    )


def _refuse_masters(attributes: Attributes, request: Obj) -> None:
    if request["spec"]["signerName"] != _USER_SIGNER:
        return
    try:
        subject = x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"])).subject
    except (binascii.Error, ValueError) as error:
        raise forbidden(attributes, request, f"failed to parse CSR: {error}") from error
    if any(each.value == _MASTERS for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)):
        raise forbidden(attributes, request, f"use of {_USER_SIGNER} signer with {_MASTERS} group is not allowed")


async def requester_identity(attributes: Attributes, _obj: Obj | None, _reader: Reader) -> Admit | None:
    """Set the requester and drop any status at creation; keep the spec as it is from then on."""
    if attributes.resource is not CERTIFICATESIGNINGREQUESTS or attributes.subresource:
        return None
    if attributes.operation == "UPDATE":
        return _keep_spec
    if attributes.operation != "CREATE":
        return None
    user = attributes.user

    def set_requester(new: Obj, _old: Obj | None) -> None:
        spec = new.setdefault("spec", {})
        spec.update(username=user.name, groups=list(user.groups))
        for name, value in (("uid", user.uid), ("extra", {key: list(each) for key, each in user.extra.items()})):
            spec.pop(name, None)
            if value:
                spec[name] = value
        new.pop("status", None)

    return set_requester


def _keep_spec(new: Obj, old: Obj | None) -> None:
    if old is not None:
        new["spec"] = old["spec"]
