"""Volumes of pods on disk: made before the sandbox, kept fresh while the pod runs, removed with it.

Layout below the pod's directory: `volumes/<name>` for each volume, `etc-hosts`, and
`containers/<name>/<attempt>` for termination messages. Volumes with content are written as upstream does:
files live in a directory of their own, `..data` points to it, and the visible names point through `..data`, so
a reader sees either all of the old or all of the new.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp

from sparsam.agent.csi.plan import device_link, pod_folder
from sparsam.agent.downward import PodFacts
from sparsam.agent.envfiles import MAX_FILE_BYTES
from sparsam.agent.environment import expand_all
from sparsam.agent.mounts import is_mounted, mount_tmpfs, mounts_below, unmount_below
from sparsam.agent.ownership import give_group
from sparsam.agent.payloads import File, TokenWish, volume_files
from sparsam.agent.podspec import Obj, all_containers
from sparsam.agent.references import ConfigFault, Sources, claim_of
from sparsam.agent.subpaths import SUB_PATHS, LeadsOutside, read_within, show
from sparsam.units import parse_bytes

log = logging.getLogger(__name__)

_DATA_LINK = "..data"
_TYPE_CHECKS = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """A block device of the node inside a container."""

    host_path: str
    container_path: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class BindMount:
    """A path of the node inside a container."""

    host_path: str
    container_path: str
    read_only: bool = False
    propagation: str = "None"


class PodDirectory:
    """Everything on disk of one pod."""

    def __init__(self, root: Path, uid: str) -> None:
        self.path = root / uid

    def volume_path(self, name: str) -> Path:
        """Where a volume of our own lives."""
        return self.path / "volumes" / name

    @property
    def hosts_file(self) -> Path:
        """The managed hosts file."""
        return self.path / "etc-hosts"

    def message_file(self, container: str, attempt: int) -> Path:
        """Termination message of one run."""
        return self.path / "containers" / container / str(attempt)

    def set_up(self, facts: PodFacts, sources: Sources, tokens: Mapping[TokenWish, str]) -> None:
        """Make every volume, or bring it up to date; raises ConfigFault naming the volume."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o750)
        for volume in facts.pod["spec"].get("volumes") or ():
            try:
                self._set_up_volume(volume, facts, sources, tokens)
            except (ConfigFault, OSError) as error:
                raise ConfigFault(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}') from error

    def bind_mounts(self, pod: Obj, spec: Obj, environment: Mapping[str, str]) -> list[BindMount]:
        """The volume mounts of one container; raises ConfigFault."""
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
        mounts = []
        for number, mount in enumerate(spec.get("volumeMounts") or ()):
            volume = volumes.get(mount["name"])
            if volume is None:
                raise ConfigFault(f'cannot find volume "{mount["name"]}" to mount into container "{spec["name"]}"')
            host_path = self._source(volume)
            sub_path = _sub_path(mount, environment)
            if sub_path:
                shown = self.path / SUB_PATHS / spec["name"] / str(number)
                _show(host_path, sub_path, shown, f'volumeMount "{mount["name"]}" of container "{spec["name"]}"')
                host_path = shown
            mounts.append(
                BindMount(
                    str(host_path),
                    str(PurePosixPath("/") / mount["mountPath"]),
                    bool(mount.get("readOnly")) or _read_only(volume),
                    mount.get("mountPropagation") or "None",
                )
            )
        return mounts

    def read_file(self, volume: str, path: str) -> str | None:
        """Text of a file that the pod's containers wrote; None when it is not there. Raises ConfigFault."""
        try:
            return read_within(self.volume_path(volume), path, MAX_FILE_BYTES).decode()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigFault(f'couldn\'t read env file "{path}" in volume "{volume}": {error}') from error

    def devices(self, pod: Obj, spec: Obj) -> list[BlockDevice]:
        """The block devices of one container; raises ConfigFault."""
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
        found = []
        for device in spec.get("volumeDevices") or ():
            path = self.volume_path(device["name"]).resolve()
            if not path.is_block_device():
                raise ConfigFault(f'volume "{device["name"]}" is no block device')
            read_only = _read_only(volumes[device["name"]])
            found.append(BlockDevice(str(path), device["devicePath"], read_only))
        return found

    def remove(self) -> None:
        """Unmount and delete everything; hostPath volumes live elsewhere and stay. Raises OSError.

        What cannot be unmounted keeps the directory: deleting it would delete what is mounted.
        """
        _remove_tree(self.path)

    def remove_volumes(self) -> None:
        """Unmount and delete the volumes; termination messages stay. Raises OSError."""
        _remove_tree(self.path / "volumes")

    def _source(self, volume: Obj) -> Path:
        return Path(volume["hostPath"]["path"]) if "hostPath" in volume else self.volume_path(volume["name"]).resolve()

    def _set_up_volume(self, volume: Obj, facts: PodFacts, sources: Sources, tokens: Mapping[TokenWish, str]) -> None:
        if "hostPath" in volume:
            check_host_path(Path(volume["hostPath"]["path"]), volume["hostPath"].get("type") or "")
            return
        path = self.volume_path(volume["name"])
        claim = claim_of(facts.pod["metadata"]["name"], volume)
        if "csi" in volume:
            _link(path, pod_folder(self.path, volume["name"]) / "mount")  # mounted there by its driver
            return
        if claim is not None:
            persistent = sources.volume(claim)
            check_use(facts.pod, volume["name"], persistent["spec"].get("volumeMode") or "Filesystem")
            self._set_up_claim(path, persistent, facts.pod, read_only=_read_only(volume))
            return
        group = (facts.pod["spec"].get("securityContext") or {}).get("fsGroup")
        files = volume_files(volume, facts, sources, tokens)
        fresh = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        if "image" in volume:
            return  # mounted there by whoever talks to the engine
        if files is None:
            if fresh:
                _set_up_empty(path, volume.get("emptyDir") or {}, group)
            return
        if "configMap" not in volume and not is_mounted(path):
            mount_tmpfs(path)
        write_atomically(path, files, group)

    def _set_up_claim(self, path: Path, persistent: Obj, pod: Obj, *, read_only: bool) -> None:
        name, spec = persistent["metadata"]["name"], persistent["spec"]
        block = spec.get("volumeMode") == "Block"
        if "csi" in spec:
            _link(path, device_link(self.path, name) if block else pod_folder(self.path, name) / "mount")
            return
        if spec.get("mountOptions"):
            raise ConfigFault(f'mount options of persistentvolume "{name}" are not supported for this volume type')
        target = persistent_path(persistent)
        fresh = not path.is_symlink()
        _link(path, target)
        # Others share a hostPath, so that its files are never given to a pod's group; nor is what runs already changed.
        if "local" in spec and fresh and not read_only and not block:
            give_group(pod, target)


def _remove_tree(path: Path) -> None:
    unmount_below(path)
    if mounts := mounts_below(path):
        raise OSError(errno.EBUSY, "still mounted", mounts[0])
    shutil.rmtree(path, ignore_errors=True)


def write_atomically(root: Path, files: Mapping[str, File], group: int | None = None) -> bool:
    """Make `root` hold exactly `files`; returns False when it did already."""
    link = root / _DATA_LINK
    if link.exists() and _same(link, files):
        return False
    fresh = Path(mkdtemp(prefix=datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S."), dir=root))
    fresh.chmod(0o755 if group is None else 0o2775)
    for name, file in files.items():
        path = fresh / _safe(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode if group is None else file.mode | 0o440)
        if group is not None or file.owner is not None:
            os.chown(path, -1 if file.owner is None else file.owner, -1 if group is None else group)
    previous = link.resolve() if link.is_symlink() else None
    temporary = root / "..data_tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(fresh.name)
    temporary.rename(link)
    _publish(root, files)
    if previous is not None:
        shutil.rmtree(previous, ignore_errors=True)
    return True


def check_host_path(path: Path, kind: str) -> None:
    """Check, or make, what a hostPath volume asks for; raises ConfigFault."""
    if not kind:
        if not path.exists():
            path.mkdir(parents=True, mode=0o755)  # as engines do for a missing bind source
        return
    if not path.exists():
        if kind == "DirectoryOrCreate":
            path.mkdir(parents=True, mode=0o755)
        elif kind == "FileOrCreate":
            path.touch(mode=0o644)
    known, name = _TYPE_CHECKS[kind]
    if not path.exists() or not known(path.stat().st_mode):
        raise ConfigFault(f"hostPath type check failed: {path} is not {name}")


def check_use(pod: Obj, volume: str, mode: str) -> None:
    """Raises ConfigFault where a container mounts a device, or wants a file system as one."""
    wrong = "volumeMounts" if mode == "Block" else "volumeDevices"
    for spec in all_containers(pod):
        if any(each["name"] == volume for each in spec.get(wrong) or ()):
            raise ConfigFault(f"volume {volume} has volumeMode {mode}, but is specified in {wrong}")


def persistent_path(volume: Obj) -> Path:
    """Where a PersistentVolume is on this node; raises ConfigFault where it is not to be had."""
    spec = volume["spec"]
    if "hostPath" in spec:
        path = Path(spec["hostPath"]["path"])
        check_host_path(path, spec["hostPath"].get("type") or "")
        return path
    if "local" in spec:
        path = Path(spec["local"]["path"])
        if spec.get("volumeMode") == "Block":
            if not path.is_block_device():
                raise ConfigFault(f'path "{path}" is no block device')
        elif not path.is_dir():
            raise ConfigFault(f'path "{path}" does not exist')
        return path
    raise ConfigFault(
        f'persistentvolume "{volume["metadata"]["name"]}" is neither hostPath nor local nor CSI: unsupported'
    )


def _link(path: Path, target: Path) -> None:
    """Make `path` point to a volume that lives elsewhere; once there it stays."""
    if not path.is_symlink():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)


def _set_up_empty(path: Path, empty_dir: Obj, group: int | None) -> None:
    if empty_dir.get("medium") == "Memory":
        limit = empty_dir.get("sizeLimit")
        mount_tmpfs(path, parse_bytes(limit) if limit else None, 0o777)
    if group is not None:
        os.chown(path, -1, group)
    path.chmod(0o777 if group is None else 0o2777)


def _read_only(volume: Obj) -> bool:
    """Content of the API, and claims that the pod itself wants only to read."""
    if any((volume.get(kind) or {}).get("readOnly") for kind in ("persistentVolumeClaim", "csi")):
        return True
    return any(kind in volume for kind in ("configMap", "secret", "downwardAPI", "projected", "image"))


def _sub_path(mount: Obj, environment: Mapping[str, str]) -> str:
    """The part of its volume that a mount shows, or empty; raises ConfigFault in upstream's words."""
    if not mount.get("subPathExpr"):
        return str(mount.get("subPath") or "")
    path = expand_all(mount["subPathExpr"], environment)
    if path.startswith("/"):
        raise ConfigFault(f"error SubPath `{path}` must not be an absolute path")
    if ".." in path.split("/"):
        raise ConfigFault(f"unable to provision SubPath `{path}`: must not contain '..'")
    return path


def _show(root: Path, sub_path: str, target: Path, where: str) -> None:
    try:
        show(root, sub_path, target)
    except OSError as error:
        log.warning("sub-path not mounted volume=%s sub_path=%r error=%s", root, sub_path, error)
        what = "prepare subPath" if isinstance(error, LeadsOutside) else "create subPath directory"
        raise ConfigFault(f"failed to {what} for {where}") from error


def _safe(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ConfigFault(f"path {name!r} must be relative and must not contain '..'")
    return path


def _same(link: Path, files: Mapping[str, File]) -> bool:
    root = link.resolve()
    present = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    if present != set(files):
        return False
    return all((root / name).read_bytes() == file.content for name, file in files.items())


def _publish(root: Path, files: Mapping[str, File]) -> None:
    """Visible names, each a link through `..data`; names that went away go too."""
    tops = {PurePosixPath(name).parts[0] for name in files}
    for entry in root.iterdir():
        if not entry.name.startswith("..") and entry.name not in tops:
            entry.unlink()
    for top in tops:
        if not (root / top).is_symlink():
            (root / top).symlink_to(f"{_DATA_LINK}/{top}")
