"""A root file system from Debian packages, for images: unpacked only, or installed as Debian installs them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsam.cli.output import step
from sparsam.errors import SparsamError

SUITE = "bookworm"
PACKAGES_SECONDS = 900
_UNREAD = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian", "var/cache/apt")
"""What no program in a container reads; licences stay."""
_DIRECTORIES = {"run": 0o755, "root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777}
"""Those of Debian's base that programs take for granted."""
_NAME = re.compile(r"[a-z_][a-z0-9_-]*")
_FIXED_ACCOUNTS = (("root", 0, "/root", "/bin/sh"), ("www-data", 33, "/var/www", ""), ("nobody", 65534, "/", ""))
"""Accounts that every Debian has, with Debian's numbers (base-passwd)."""


class PackagesError(SparsamError):
    """Packages could not become a root file system."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user and the group of the same name and number."""

    name: str
    number: int
    home: str = "/"
    shell: str = ""


def parse_account(text: str) -> Account:
    """`NAME=NUMBER`; raises PackagesError."""
    name, _, number = text.partition("=")
    if not _NAME.fullmatch(name) or not number.isdigit():
        raise PackagesError(f"--account {text!r} is not NAME=NUMBER")
    return Account(name, int(number))


def unpack(
    packages: str,
    root: Path,
    accounts: Sequence[Account] = (),
    *,
    configure: bool = False,
    without: Sequence[str] = (),
    over: Path | None = None,
) -> Path:
    """Exactly these packages and what they depend on at `root`; raises PackagesError.

    Unpacked packages have run none of their scripts, so users, links and caches that those make are missing; but for
    `accounts`. With `configure` there is a whole small Debian below them and the scripts run, which takes longer.
    `without` are patterns of paths to leave out; what is in the directory `over` is laid over the rest.
    """
    if shutil.which("mmdebstrap") is None:
        raise PackagesError("mmdebstrap is missing; install it from Debian")
    variant = ["--variant=essential", "--dpkgopt=force-unsafe-io"] if configure else ["--variant=extract"]
    command = ["mmdebstrap", "--quiet", *variant, f"--include={packages}", SUITE, str(root)]
    with step(f"fetch {packages} from Debian"):
        result = subprocess.run(command, capture_output=True, text=True, timeout=PACKAGES_SECONDS, check=False)
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or ["no reason given"]
        raise PackagesError(f"mmdebstrap failed: {_reason(lines)}")
    strip(root)
    leave_out(root, without)
    for name, mode in _DIRECTORIES.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name).chmod(mode)
    add_accounts(root, accounts)
    if over is not None:
        shutil.copytree(over, root, symlinks=True, dirs_exist_ok=True)
    return root


def _reason(lines: Sequence[str]) -> str:
    """The first complaint; what follows from it says less."""
    return next((line for line in lines if line.startswith("E: ")), lines[-1])


def strip(root: Path) -> None:
    """Take out what only people read, except licences."""
    for unread in _UNREAD:
        for path in sorted((root / unread).rglob("*"), reverse=True):
            if path.is_symlink() or not path.is_dir():
                if path.name != "copyright":
                    path.unlink()
            elif not any(path.iterdir()):
                path.rmdir()


def leave_out(root: Path, patterns: Sequence[str]) -> None:
    """Remove what matches, folders with all they hold; raises PackagesError for a pattern that cannot be meant."""
    for pattern in patterns:
        if ".." in Path(pattern).parts:
            raise PackagesError(f"--exclude {pattern!r} leads out of the image")
        found = list(root.glob(pattern.strip("/"))) if pattern.strip("/") else []
        if not found:
            raise PackagesError(f"--exclude {pattern!r} matches nothing")
        for path in found:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def add_accounts(root: Path, accounts: Sequence[Account]) -> None:
    """Put accounts into `etc/passwd` and `etc/group`, which unpacked packages do not have."""
    fixed = [Account(*each) for each in _FIXED_ACCOUNTS]
    _append(root / "etc/passwd", fixed, accounts, "{0.name}:x:{0.number}:{0.number}::{0.home}:{1}")
    _append(root / "etc/group", fixed, accounts, "{0.name}:x:{0.number}:")


def _append(path: Path, fixed: Sequence[Account], more: Sequence[Account], form: str) -> None:
    there = path.read_text().splitlines() if path.exists() else []
    wanted = more if there else [*fixed, *more]
    names = {line.partition(":")[0] for line in there}
    there += [form.format(each, each.shell or "/usr/sbin/nologin") for each in wanted if each.name not in names]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in there))
