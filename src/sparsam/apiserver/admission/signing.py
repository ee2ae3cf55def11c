"""Certificate signing requests carry who asked for them: the server says so, never the client."""

from __future__ import annotations

from sparsam.apiserver.admission import Admit, Attributes, Reader
from sparsam.objects.kinds import CERTIFICATESIGNINGREQUESTS
from sparsam.objects.strategy import Obj


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
