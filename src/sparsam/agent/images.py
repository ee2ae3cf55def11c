"""Container images made by ourselves: a `docker save` archive from files or a directory, in plain Python.

An offline machine has no registry to pull from, so the sandbox image and demo images are built here. The same
input gives the same bytes, hence the same image id: times and owners are fixed, entries are sorted.
"""

from __future__ import annotations

import hashlib
import io
import platform
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec

BUSYBOX = Path("/bin/busybox")
PAUSE_IMAGE = "localhost/sparsam/pause:1"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64", "s390x": "s390x"}
_APPLETS = """
sh ash cat echo env httpd id kill ls nc nslookup sleep stat test touch true false wget sed grep head tail tar dd
date hostname ip ping mount umount df du ps printf sync rm rmdir mv cp ln mkdir vi awk tr seq cut sort uniq wc
find xargs chmod chown md5sum sha256sum base64 od top free uname which whoami timeout usleep yes nproc expr
"""
_EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One entry of an image: bytes, a file of this machine, a symbolic link, or (none of them) a directory."""

    path: str
    content: bytes | None = None
    source: Path | None = None
    link: str = ""
    mode: int = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What a container of the image runs by default; the fields are those of the image configuration."""

    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    user: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""


def go_architecture(machine: str = "") -> str:
    """The architecture of this machine as images and Kubernetes labels name it."""
    machine = machine or platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def build_image(name: str, rootfs: Path | Iterable[ImageFile], target: Path, config: ImageConfig) -> Path:
    """Write the image `name` (with tag) as an archive at `target`, from a directory or from single entries."""
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".layer") as layer_file:
        with tarfile.open(fileobj=layer_file, mode="w", format=tarfile.PAX_FORMAT) as layer:
            if isinstance(rootfs, Path):
                _add_directory(layer, rootfs)
            else:
                add_entries(layer, rootfs)
        layer_file.flush()
        digest = _sha256(Path(layer_file.name))
        _write_archive(name, Path(layer_file.name), digest, target, config)
    return target


def build_pause_image(target: Path, busybox: Path = BUSYBOX) -> Path:
    """The sandbox image: a static busybox that sleeps for ever and so holds the pod's namespaces.

    The shell stays and waits, since as process 1 of a shared process namespace it must reap orphans.
    """
    entries = (ImageFile("bin"), ImageFile("bin/busybox", source=busybox))
    wait = "trap 'exit 0' TERM INT; /bin/busybox sleep 2147483647 & wait"
    sleep_for_ever = ImageConfig(entrypoint=("/bin/busybox", "sh", "-c", wait))
    return build_image(PAUSE_IMAGE, entries, target, sleep_for_ever)


def busybox_entries(busybox: Path = BUSYBOX) -> list[ImageFile]:
    """A small root file system: this machine's static busybox with a shell and its commonest applets."""
    entries = [ImageFile("bin"), ImageFile("tmp", mode=0o1777), ImageFile("bin/busybox", source=busybox)]
    entries += [ImageFile(f"bin/{applet}", link="busybox") for applet in _APPLETS.split()]
    return [
        *entries,
        ImageFile("etc"),
        ImageFile("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n", mode=0o644),
        ImageFile("etc/group", b"root:x:0:\nnogroup:x:65534:\n", mode=0o644),
    ]


def add_entries(layer: tarfile.TarFile, entries: Iterable[ImageFile]) -> None:
    """Append entries to a layer."""
    for entry in entries:
        info = tarfile.TarInfo(str(PurePosixPath(entry.path.lstrip("/"))))
        info.mode = entry.mode
        content = entry.source.read_bytes() if entry.source is not None else entry.content
        if entry.link:
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.link, 0o777
        elif content is None:
            info.type = tarfile.DIRTYPE
        else:
            info.size = len(content)
        layer.addfile(info, io.BytesIO(content or b"") if info.isreg() else None)


def _add_directory(layer: tarfile.TarFile, root: Path) -> None:
    for path in sorted(root.rglob("*")):
        info = layer.gettarinfo(str(path), arcname=str(path.relative_to(root)))
        if info is None:
            continue  # sockets cannot be in an image
        info.mtime = 0
        info.uname = info.gname = ""
        if info.isreg():
            with path.open("rb") as content:
                layer.addfile(info, content)
        else:
            layer.addfile(info)


def _write_archive(name: str, layer: Path, digest: str, target: Path, config: ImageConfig) -> None:
    image_config = msgspec.json.encode(
        {
            "architecture": go_architecture(),
            "os": "linux",
            "created": _EPOCH,
            "config": _runtime_config(config),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created": _EPOCH, "created_by": "sparsam images build"}],
        }
    )
    config_name = f"{hashlib.sha256(image_config).hexdigest()}.json"
    layer_name = f"{digest}/layer.tar"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [layer_name]}]
    with tarfile.open(target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        add_entries(archive, [ImageFile("manifest.json", msgspec.json.encode(manifest), mode=0o644)])
        add_entries(archive, [ImageFile(config_name, image_config, mode=0o644)])
        info = tarfile.TarInfo(layer_name)
        info.size, info.mode = layer.stat().st_size, 0o644
        with layer.open("rb") as content:
            archive.addfile(info, content)


def _runtime_config(config: ImageConfig) -> dict[str, object]:
    fields: dict[str, object] = {
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.command),
        "Env": [f"{name}={value}" for name, value in config.env.items()],
        "WorkingDir": config.working_dir,
        "User": config.user,
        "Labels": dict(config.labels),
        "StopSignal": config.stop_signal,
    }
    return {name: value for name, value in fields.items() if value}


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
