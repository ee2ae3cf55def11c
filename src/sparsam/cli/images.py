"""`sparsam images`: make container images on this machine and load them into its nodes."""

from __future__ import annotations

import asyncio
import shlex
import tempfile
from pathlib import Path

import click

from sparsam.agent.containerd import Containerd
from sparsam.agent.cri import Cri
from sparsam.agent.images import BUSYBOX, ImageConfig, ImageFile, build_image, busybox_entries
from sparsam.agent.pulling import normalized
from sparsam.agent.runtime import Image
from sparsam.cli.network import agent_paths
from sparsam.cli.nodes import local_nodes
from sparsam.cli.output import emit, output_option, plain_table, step
from sparsam.cli.packages import parse_account, unpack
from sparsam.cli.serve import data_dir_option
from sparsam.errors import SparsamError
from sparsam.settings import Settings, SettingsError, read_settings

DEMO_SHELL = "localhost/sparsam/busybox:1"
DEMO_WEB = "localhost/sparsam/web"
DEMO_VERSIONS = ("1", "2")

_SERVE = b"""#!/bin/sh
# The first process of a container gets no default signal handling, so stopping has to be spelt out.
trap 'kill $!; exit 0' TERM INT
httpd -f -p 8080 -h /www &
wait $!
"""
_PAGE = """#!/bin/sh
echo "Content-Type: text/plain"
echo
echo "sparsam demo, version {version}, pod ${{POD_NAME:-$(hostname)}}, node ${{NODE_NAME:-unknown}}"
"""


class ImageError(SparsamError):
    """An image could not be made or loaded."""


@click.group()
def images() -> None:
    """Make container images on this machine and load them into its nodes."""


@images.command()
@click.argument("name")
@click.option(
    "--dir",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Root file system; with --packages, what is laid over theirs.",
)
@click.option("--packages", help="Debian packages, comma-separated; what they depend on comes along.")
@click.option(
    "--configure", is_flag=True, help="Run the packages' own set-up scripts too, in a whole small Debian; takes longer."
)
@click.option(
    "--account", "accounts", multiple=True, metavar="NAME=NUMBER", help="User and group to add; may be repeated."
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Files or folders to leave out; may be repeated.")
@click.option("--entrypoint", default="", help="Program and arguments, as a shell would split them.")
@click.option("--cmd", "command", default="", help="Default arguments.")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="Environment variable; may be repeated.")
@click.option("--workdir", default="", help="Working directory.")
@click.option("--user", default="", help="User, by name or number.")
@click.option("--stop-signal", default="", help="Signal that asks the program to end [SIGTERM].")
@click.option("--output", "-O", type=click.Path(path_type=Path, dir_okay=False), help="Archive to write [NAME.tar].")
@click.option("--load", is_flag=True, help="Load the image into this machine's nodes too.")
@data_dir_option
def build(
    *,
    name: str,
    directory: Path | None,
    packages: str | None,
    configure: bool,
    accounts: tuple[str, ...],
    exclude: tuple[str, ...],
    output: Path | None,
    load: bool,
    data_dir: Path,
    env: tuple[str, ...],
    **config: str,
) -> None:
    """Build image NAME from a directory or from Debian packages.

    \b
    Examples:
      sparsam images build localhost/tools:1 --packages curl --load
      sparsam images build localhost/java:1 --packages openjdk-17-jre-headless --configure --load
      sparsam images build localhost/site:1 --dir ./rootfs --entrypoint "/bin/server --port 80"
    """
    if directory is None and packages is None:
        raise ImageError("give --dir or --packages, or both")
    if packages is None and (configure or accounts or exclude):
        raise ImageError("--configure, --account and --exclude go with --packages")
    if bad := next((each for each in env if "=" not in each), None):
        raise ImageError(f"--env {bad!r} is not NAME=VALUE")
    tagged = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
    target = output or Path(f"{tagged.rpartition('/')[2].replace(':', '-')}.tar")
    image = ImageConfig(
        entrypoint=shlex.split(config["entrypoint"]),
        command=shlex.split(config["command"]),
        env={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            **dict(e.split("=", 1) for e in env),
        },
        working_dir=config["workdir"],
        user=config["user"],
        stop_signal=config["stop_signal"],
    )
    users = [parse_account(each) for each in accounts]
    with tempfile.TemporaryDirectory() as scratch:
        root = directory
        if packages is not None:
            root = unpack(packages, Path(scratch) / "root", users, configure=configure, without=exclude, over=directory)
        assert root is not None
        with step(f"build {tagged}"):
            build_image(tagged, root, target, image)
    click.echo(target)
    if load:
        _load(read_settings(data_dir / "cluster.json"), [target])


@images.command(name="load")
@click.argument("archives", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--node", "node_name", help="Only this node of the machine.")
@data_dir_option
def load_command(archives: tuple[Path, ...], node_name: str | None, data_dir: Path) -> None:
    """Load image archives (OCI or docker-save) into this machine's nodes."""
    _load(read_settings(data_dir / "cluster.json"), archives, node_name)


@images.command(name="list")
@output_option
@data_dir_option
def list_command(output: str, data_dir: Path) -> None:
    """Show the images in this machine's nodes."""
    settings = read_settings(data_dir / "cluster.json")
    found = sorted(
        (node, name, image.id.removeprefix("sha256:")[:13], image.size_bytes)
        for node, engine in _engines(settings)
        for image in asyncio.run(_images_of(_socket(settings, engine)))
        for name in image.tags or image.digests
    )
    rows = [(*words, f"{size / 1e6:.1f} MB") for *words, size in found]
    value = [dict(zip(("node", "image", "id", "bytes"), each, strict=True)) for each in found]
    emit(value, output, lambda: plain_table(("NODE", "IMAGE", "ID", "SIZE"), rows))


@images.command(name="rm")
@click.argument("names", nargs=-1, required=True)
@click.option("--node", "node_name", help="Only this node of the machine.")
@data_dir_option
def remove_command(names: tuple[str, ...], node_name: str | None, data_dir: Path) -> None:
    """Remove images from this machine's nodes; containers that run go on."""
    settings = read_settings(data_dir / "cluster.json")
    sockets = {node: _socket(settings, engine) for node, engine in _engines(settings, node_name)}
    for name in names:
        had = [node for node, socket in sockets.items() if asyncio.run(_remove(socket, name))]
        if not had:
            raise ImageError(f"no node has an image {name}")
        click.echo(f"{name} removed from {', '.join(had)}")


@images.command()
@data_dir_option
def demo(data_dir: Path) -> None:
    """Build and load the demo images: a shell and two versions of a small web server."""
    settings = read_settings(data_dir / "cluster.json")
    with tempfile.TemporaryDirectory() as scratch:
        with step("build the demo images"):
            archives = build_demo_images(Path(scratch))
        _load(settings, archives)


def build_demo_images(target_dir: Path) -> list[Path]:
    """The archives of the demo images, in `target_dir`. Raises ImageError without busybox."""
    if not BUSYBOX.exists():
        raise ImageError(f"{BUSYBOX} is missing; install Debian's busybox-static")
    shell = ImageConfig(command=("/bin/sh",), env={"PATH": "/bin"})
    archives = [build_image(DEMO_SHELL, busybox_entries(), target_dir / "busybox.tar", shell)]
    for version in DEMO_VERSIONS:
        page = _PAGE.format(version=version).encode()
        files = [
            *busybox_entries(),
            ImageFile("bin/serve", _SERVE),
            ImageFile("www"),
            ImageFile("www/cgi-bin"),
            ImageFile("www/cgi-bin/index.cgi", page),
        ]
        config = ImageConfig(entrypoint=("/bin/serve",), env={"PATH": "/bin"})
        archives.append(build_image(f"{DEMO_WEB}:{version}", files, target_dir / f"web-{version}.tar", config))
    return archives


def _engines(settings: Settings, node_name: str | None = None) -> list[tuple[str, Containerd]]:
    """Names and engines of this machine's nodes, or of one of them; raises SettingsError."""
    nodes = [node for node in local_nodes(settings) if node_name in (None, node.name)]
    if not nodes:
        raise SettingsError(f"this machine has no node {node_name!r}")
    paths = {node.name: agent_paths(settings, node) for node in nodes}
    return [(name, Containerd(each.data_dir, each.run_dir)) for name, each in paths.items()]


def _socket(settings: Settings, engine: Containerd) -> str:
    return settings.cri_socket or str(engine.socket)


async def _images_of(socket: str) -> list[Image]:
    async with Cri(socket) as cri:
        return await cri.list_images()


async def _remove(socket: str, name: str) -> bool:
    """Remove an image by name; whether it was there."""
    try:
        full = normalized(name)
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from error
    async with Cri(socket) as cri:
        image = await cri.image(full)
        if image is not None:
            await cri.remove_image(image.id)
        return image is not None


def _load(settings: Settings, archives: list[Path] | tuple[Path, ...], node_name: str | None = None) -> None:
    if settings.cri_socket:
        raise ImageError(f"the engine at {settings.cri_socket} is not ours; load the image with its own tools")
    for name, engine in _engines(settings, node_name):
        with step(f"load {len(archives)} image{'s' if len(archives) > 1 else ''} into {name}"):
            asyncio.run(_import_all(engine, archives))


async def _import_all(engine: Containerd, archives: list[Path] | tuple[Path, ...]) -> None:
    for archive in archives:
        await engine.import_image(archive)
