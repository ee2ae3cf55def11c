"""What a pod's CSI volumes are, where they are mounted, and what their driver is told. Pure.

Directories are laid out as upstream's node agent does, since drivers look into paths:
`plugins/kubernetes.io/csi/<driver>/<sha256 of the handle>/globalmount` for the node, and
`pods/<uid>/volumes/kubernetes.io~csi/<name>/mount` for the pod; block devices below
`plugins/kubernetes.io/csi/volumeDevices`, with a link in `pods/<uid>/volumeDevices/kubernetes.io~csi`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from sparsam.agent.csi.driver import Ability, Mount
from sparsam.agent.podspec import Obj

FOLDER = "kubernetes.io~csi"
RECORD = "vol_data.json"
Reference = tuple[str, str]
"""(namespace, name) of a Secret, or of a claim."""

# CSI's AccessMode.Mode.
_SINGLE_NODE_WRITER, _READERS, _WRITERS, _SINGLE_WRITER, _MULTI_WRITER = 1, 3, 5, 6, 7
_MODES = {"ReadOnlyMany": _READERS, "ReadWriteMany": _WRITERS}


@dataclass(frozen=True, slots=True, kw_only=True)
class CsiVolume:
    """One volume of a driver, as a pod uses it."""

    driver: str
    handle: str
    name: str
    """Of the PersistentVolume, or of an ephemeral volume in its pod."""
    ephemeral: bool = False
    """Made with the pod, without a claim."""
    read_only: bool = False
    block: bool = False
    """A device instead of a file system."""
    fs_type: str = ""
    access_modes: tuple[str, ...] = ("ReadWriteOnce",)
    mount_options: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    stage_secret: Reference | None = None
    publish_secret: Reference | None = None
    expand_secret: Reference | None = None
    claim: Reference | None = None
    """(namespace, name) of the claim that the volume is bound to."""
    capacity: str = "0"
    """How large the volume is, a quantity."""

    @property
    def key(self) -> tuple[str, str]:
        """Which volume of which driver."""
        return self.driver, self.handle


def persistent(volume: Obj, *, read_only: bool) -> CsiVolume:
    """Of a PersistentVolume with a `csi` source; `read_only` if the pod wants no more."""
    spec = volume["spec"]
    source = spec["csi"]
    return CsiVolume(
        driver=source["driver"],
        handle=source["volumeHandle"],
        name=volume["metadata"]["name"],
        read_only=read_only or bool(source.get("readOnly")),
        block=spec.get("volumeMode") == "Block",
        fs_type=source.get("fsType") or "",
        access_modes=tuple(spec.get("accessModes") or ("ReadWriteOnce",)),
        mount_options=tuple(spec.get("mountOptions") or ()),
        attributes=source.get("volumeAttributes") or {},
        stage_secret=_reference(source.get("nodeStageSecretRef")),
        publish_secret=_reference(source.get("nodePublishSecretRef")),
        expand_secret=_reference(source.get("nodeExpandSecretRef")),
        claim=_reference(spec.get("claimRef")),
        capacity=(spec.get("capacity") or {}).get("storage") or "0",
    )


def inline(pod: Obj, volume: Obj) -> CsiVolume:
    """Of a volume that stands in the pod itself."""
    source, metadata = volume["csi"], pod["metadata"]
    secret = source.get("nodePublishSecretRef")
    return CsiVolume(
        driver=source["driver"],
        handle=f"csi-{sha256((metadata['uid'] + volume['name']).encode()).hexdigest()}",
        name=volume["name"],
        ephemeral=True,
        read_only=bool(source.get("readOnly")),
        fs_type=source.get("fsType") or "",
        attributes=source.get("volumeAttributes") or {},
        publish_secret=(metadata["namespace"], secret["name"]) if secret else None,
    )


def mount_of(volume: CsiVolume, abilities: frozenset[int], group: int | None) -> Mount:
    """How the driver is to mount it: by the first access mode; only some drivers tell writers of one node apart."""
    first = volume.access_modes[0]
    mode = _MODES.get(first, _SINGLE_NODE_WRITER)
    if mode == _SINGLE_NODE_WRITER and Ability.SINGLE_NODE_MULTI_WRITER in abilities:
        mode = _SINGLE_WRITER if first == "ReadWriteOncePod" else _MULTI_WRITER
    by_driver = group is not None and Ability.MOUNT_GROUP in abilities
    return Mount(mode, volume.fs_type, volume.mount_options, str(group) if by_driver else "", volume.block)


def mode_fault(volume: CsiVolume, driver: Obj | None) -> str:
    """Why the driver does not take such a volume; empty when it does."""
    mode = "Ephemeral" if volume.ephemeral else "Persistent"
    if driver is None:
        unknown = f"volume mode {mode!r} not supported by driver {volume.driver} (no CSIDriver object)"
        return unknown.replace("'", '"') if volume.ephemeral else ""
    modes = driver["spec"].get("volumeLifecycleModes") or ["Persistent"]
    if mode in modes:
        return ""
    return f'volume mode "{mode}" not supported by driver {volume.driver} (only supports {modes})'


def wants_attachment(volume: CsiVolume, driver: Obj | None) -> bool:
    """Whether the volume must be attached to the node before it can be mounted."""
    return not volume.ephemeral and (driver is None or driver["spec"].get("attachRequired") is not False)


def takes_group(volume: CsiVolume, driver: Obj | None) -> bool:
    """Whether files get the pod's fsGroup: a driver says never, always, or for file systems of one writer."""
    policy = ((driver or {}).get("spec") or {}).get("fsGroupPolicy") or "ReadWriteOnceWithFSType"
    if policy == "File" or volume.block:
        return not volume.block
    single = not {"ReadWriteOnce", "ReadWriteOncePod"}.isdisjoint(volume.access_modes)
    return policy == "ReadWriteOnceWithFSType" and bool(volume.fs_type) and single


def pod_facts(pod: Obj, volume: CsiVolume, driver: Obj | None) -> dict[str, str]:
    """What a driver that asks for it learns of the pod."""
    if driver is None or not driver["spec"].get("podInfoOnMount"):
        return {}
    metadata = pod["metadata"]
    return {
        "csi.storage.k8s.io/pod.name": metadata["name"],
        "csi.storage.k8s.io/pod.namespace": metadata["namespace"],
        "csi.storage.k8s.io/pod.uid": metadata["uid"],
        "csi.storage.k8s.io/serviceAccount.name": pod["spec"].get("serviceAccountName") or "",
        "csi.storage.k8s.io/ephemeral": "true" if volume.ephemeral else "false",
    }


def pod_folder(pod_path: Path, name: str) -> Path:
    """Where a pod's volume is mounted (`mount`) and what is known of it (`vol_data.json`)."""
    return pod_path / "volumes" / FOLDER / name


def device_link(pod_path: Path, name: str) -> Path:
    """Where a pod's block device is found."""
    return pod_path / "volumeDevices" / FOLDER / name


def published_at(plugins_dir: Path, pod_path: Path, name: str, *, block: bool) -> Path:
    """Where a driver is to publish a volume for a pod."""
    if block:
        return plugins_dir / "kubernetes.io" / "csi" / "volumeDevices" / "publish" / name / pod_path.name
    return pod_folder(pod_path, name) / "mount"


def staged_at(plugins_dir: Path, key: tuple[str, str], name: str, *, block: bool) -> Path:
    """Where a driver is to stage a volume for the node."""
    if block:
        return plugins_dir / "kubernetes.io" / "csi" / "volumeDevices" / "staging" / name
    return stage_folder(plugins_dir, *key) / "globalmount"


def stage_folder(plugins_dir: Path, driver: str, handle: str) -> Path:
    """Where the node's own mount is (`globalmount`) and what is known of it."""
    return plugins_dir / "kubernetes.io" / "csi" / driver / sha256(handle.encode()).hexdigest()


def _reference(reference: Obj | None) -> Reference | None:
    return (reference["namespace"], reference["name"]) if reference else None
