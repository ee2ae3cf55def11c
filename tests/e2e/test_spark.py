"""PySpark from PyPI in its own Kubernetes mode: image, manifest and entrypoint are those of examples/spark."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Cluster, outside, running_cluster, until

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1200)]

IMAGE = "localhost/spark:4.3.0"
PYPI = ("pyspark==4.3.0", "py4j==0.10.9.9")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One node that has the image."""
    folder = tmp_path_factory.mktemp("spark")
    archive = built(folder)
    with running_cluster(folder / "cluster", "--node-name", "spark") as one:
        one.sparsam("images", "load", str(archive), seconds=300)
        archive.unlink()
        yield one


def built(folder: Path) -> Path:
    """The image's archive, from Debian's Java and PyPI's Spark."""
    layer, archive = folder / "layer", folder / "spark.tar"
    pip = [*outside(), sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    fetched([*pip, "--target", str(layer / "opt/pylib"), *PYPI])
    shutil.copy(ROOT / "examples/spark/entrypoint.sh", layer / "opt/entrypoint.sh")
    build = [*outside(), sys.executable, "-m", "sparsam.cli", "images", "build", IMAGE]
    build += ["--packages", "openjdk-17-jre-headless,python3", "--configure", "--dir", str(layer)]
    build += ["--entrypoint", "/opt/entrypoint.sh", "--env", "SPARK_HOME=/opt/pylib/pyspark"]
    build += ["--env", "PYTHONPATH=/opt/pylib", "--env", "PYSPARK_PYTHON=python3", "--output", str(archive)]
    fetched(build)
    shutil.rmtree(layer)
    return archive


def fetched(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if result.returncode != 0:
        pytest.skip(f"cannot fetch Spark or Java: {(result.stderr.strip().splitlines() or ['no reason given'])[-1]}")


def test_a_spark_job_makes_its_executors_counts_and_leaves_nothing(cluster: Cluster):
    cluster.kubectl("apply", "-f", str(ROOT / "examples/spark/job.yaml"))
    seen: set[str] = set()

    def ended() -> bool:
        pods = cluster.get("pods", "-l", "spark-role=executor")["items"]
        seen.update(each["metadata"]["name"] for each in pods if each["status"]["phase"] == "Running")
        status = cluster.get("job", "spark-count").get("status", {})
        return bool(status.get("succeeded") or status.get("failed"))

    until(ended, 600, "the driver's end")
    log = cluster.kubectl("logs", "job/spark-count")
    assert cluster.get("job", "spark-count")["status"].get("succeeded") == 1, log
    assert "sum 9999900000 executors 2" in log
    assert f"rows {[(digit, 100) for digit in range(10)]}" in log
    assert len(seen) == 2
    until(lambda: not cluster.get("pods", "-l", "spark-role=executor")["items"], 120, "executors gone")


def test_executors_go_with_their_driver(cluster: Cluster):
    job = (ROOT / "examples/spark/job.yaml").read_text().replace("range(100_000)", "range(10**12)")
    cluster.kubectl("delete", "job", "spark-count", "--ignore-not-found", "--timeout=80s")
    cluster.kubectl("apply", "-f", "-", stdin=job)
    running = ("pods", "-l", "spark-role=executor", "--field-selector", "status.phase=Running")
    until(lambda: len(cluster.get(*running)["items"]) == 2, 300, "executors at work")
    owners = [pod["metadata"]["ownerReferences"][0]["kind"] for pod in cluster.get(*running)["items"]]
    assert owners == ["Pod", "Pod"]
    cluster.kubectl("delete", "job", "spark-count", "--timeout=80s")
    until(lambda: not cluster.get("pods", "-l", "spark-role=executor")["items"], 180, "executors gone")
