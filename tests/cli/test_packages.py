"""Root file systems from packages: what is put in and taken out besides what mmdebstrap unpacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsam.cli.packages import Account, PackagesError, add_accounts, leave_out, parse_account, strip, unpack


def test_an_account_is_a_name_and_a_number():
    assert parse_account("postgres=999") == Account("postgres", 999)


@pytest.mark.parametrize("text", ["postgres", "=1", "a:b=1", "x=-1", "x=one", "", "\n=1"])
def test_what_would_break_the_file_of_users_is_refused(text: str):
    with pytest.raises(PackagesError, match="is not NAME=NUMBER"):
        parse_account(text)


def test_unpacked_packages_get_debians_first_users_and_those_asked_for(tmp_path: Path):
    add_accounts(tmp_path, [Account("postgres", 999)])
    lines = (tmp_path / "etc/passwd").read_text().splitlines()
    assert lines[0] == "root:x:0:0::/root:/bin/sh"
    assert lines[-1] == "postgres:x:999:999::/:/usr/sbin/nologin"
    assert (tmp_path / "etc/group").read_text().splitlines()[-1] == "postgres:x:999:"


def test_users_that_are_there_stay_as_they_are(tmp_path: Path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    add_accounts(tmp_path, [Account("root", 7), Account("me", 1000)])
    assert (tmp_path / "etc/passwd").read_text() == (
        "root:x:0:0:root:/root:/bin/bash\nme:x:1000:1000::/:/usr/sbin/nologin\n"
    )


def test_manuals_go_and_licences_stay(tmp_path: Path):
    for name in ("usr/share/doc/a/copyright", "usr/share/doc/a/README", "usr/share/man/man1/a.1", "usr/bin/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "usr/share/doc/b").symlink_to("/usr/share/doc/a")
    strip(tmp_path)
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file() or p.is_symlink())
    assert left == ["usr/bin/a", "usr/share/doc/a/copyright"]


def test_what_is_left_out_is_gone_and_a_pattern_without_a_match_is_a_mistake(tmp_path: Path):
    for name in ("usr/lib/big/a.so.1", "usr/lib/small/b.so", "opt/x/y/z"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    leave_out(tmp_path, ["/usr/lib/*/a.so*", "opt/x"])
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["b.so"]
    for pattern in ("nothing*", "/", ""):
        with pytest.raises(PackagesError, match="matches nothing"):
            leave_out(tmp_path, [pattern])
    with pytest.raises(PackagesError, match="leads out"):
        leave_out(tmp_path, ["../*"])


def test_a_directory_is_laid_over_what_the_packages_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    unpacker = tmp_path / "bin/mmdebstrap"
    unpacker.parent.mkdir()
    unpacker.write_text(
        '#!/bin/sh\nfor root; do :; done\nmkdir -p "$root/usr/bin" && echo old > "$root/usr/bin/a"\n'
        'echo b > "$root/usr/bin/b"; ln -s usr/bin "$root/bin"\n'
    )
    unpacker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{unpacker.parent}:/usr/bin:/bin")
    over = tmp_path / "over"
    (over / "bin").mkdir(parents=True)
    (over / "bin/a").write_text("new")
    (over / "link").symlink_to("/absent")
    root = unpack("a,b", tmp_path / "root", over=over)
    assert (root / "usr/bin/a").read_text() == "new"
    assert (root / "usr/bin/b").exists()
    assert (root / "bin").is_symlink()
    assert (root / "link").is_symlink()
