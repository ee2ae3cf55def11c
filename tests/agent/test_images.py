"""Images made by ourselves."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import msgspec

from sparsam.agent.images import ImageConfig, ImageFile, build_image


def test_an_archive_holds_manifest_config_and_layer_that_fit_together(tmp_path: Path):
    files = [ImageFile("bin"), ImageFile("bin/tool", b"#!/bin/sh\n"), ImageFile("bin/alias", link="tool")]
    config = ImageConfig(entrypoint=("/bin/tool",), env={"A": "1"}, user="1000", stop_signal="SIGQUIT")
    archive = build_image("localhost/tool:1", files, tmp_path / "tool.tar", config)
    with tarfile.open(archive) as tar:
        (manifest,) = msgspec.json.decode(tar.extractfile("manifest.json").read())
        described = msgspec.json.decode(tar.extractfile(manifest["Config"]).read())
        layer = tar.extractfile(manifest["Layers"][0]).read()
    assert manifest["RepoTags"] == ["localhost/tool:1"]
    assert described["config"] == {"Entrypoint": ["/bin/tool"], "Env": ["A=1"], "User": "1000", "StopSignal": "SIGQUIT"}
    assert described["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]


def test_the_same_directory_gives_the_same_bytes(tmp_path: Path):
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/motd").write_text("hello")
    first = build_image("localhost/a:1", root, tmp_path / "a.tar", ImageConfig()).read_bytes()
    (root / "etc/motd").touch()
    assert build_image("localhost/a:1", root, tmp_path / "b.tar", ImageConfig()).read_bytes() == first
