"""What a node offers to others: static pods, its endpoints to Prometheus, streams, credentials and an orderly end."""

import base64
import contextlib
import json
import os
import signal
import ssl
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conftest import lack
from tests.e2e.conftest import Cluster, running_cluster, until

SHELL = "localhost/sparsam/busybox:1"
FIRST = "first-srv"


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static")
    write(folder, "first")
    (folder / "broken.yaml").write_text("kind: Pod\napiVersion: v1\nmetadata: {name: broken}\n")
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, static: Path) -> Iterator[Cluster]:
    flags = ("--node-name", "srv", "--static-pods", str(static))
    with running_cluster(tmp_path_factory.mktemp("s"), *flags) as one:
        one.apply(counting())
        yield one


def counting() -> dict[str, Any]:
    """A server that counts its requests, and a client in the same pod; it has a minute until somebody looks."""
    work = "#!/bin/sh\\necho x >> /tmp/n; echo; i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; echo ok\\n"
    page = '#!/bin/sh\\necho; echo "served_total{kind=\\\\"a\\\\"} $(wc -l < /tmp/n)"\\n'
    command = (
        f"mkdir -p /www/cgi-bin; cd /www/cgi-bin; printf '{work}' > work; printf '{page}' > count; chmod +x *; "
        "touch /tmp/n; httpd -p 8080 -h /www; "
        "while true; do wget -qO- http://127.0.0.1:8080/cgi-bin/work; sleep 0.1; done"
    )
    one = pod("counting", command)
    one["metadata"]["annotations"] = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8080",
        "prometheus.io/path": "/cgi-bin/count",
        "power.sparsam.dev/request-counter": "served_total",
    }
    return one


def shell(command: str = "sleep 3600", **fields: Any) -> dict[str, Any]:
    return {"name": "c", "image": SHELL, "command": ["sh", "-c", command], **fields}


def pod(name: str, command: str = "sleep 3600", container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    body = {"terminationGracePeriodSeconds": 0, "containers": [shell(command, **(container or {}))], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}


def write(folder: Path, name: str, **labels: str) -> None:
    manifest = pod(name)
    manifest["metadata"]["labels"] = labels
    (folder / f".{name}").write_text(json.dumps(manifest))
    (folder / f".{name}").replace(folder / f"{name}.yaml")


def ready(cluster: Cluster, name: str, namespace: str = "default") -> dict[str, Any] | None:
    try:
        found = cluster.get("pods", "-n", namespace)["items"]
    except AssertionError:
        return None  # the API server is being started again
    for each in found:
        conditions = {one["type"]: one["status"] for one in each["status"].get("conditions") or ()}
        if each["metadata"]["name"] == name and conditions.get("Ready") == "True":
            return each
    return None


def test_static_pods_run_are_shown_come_back_and_outlive_the_agent(cluster: Cluster, static: Path):
    first = until(lambda: ready(cluster, FIRST), what="mirror")
    run = first["status"]["containerStatuses"][0]["containerID"]
    assert first["metadata"]["annotations"]["kubernetes.io/config.source"] == "file"
    assert first["metadata"]["ownerReferences"][0]["name"] == "srv"
    assert cluster.kubectl("exec", FIRST, "--", "hostname").strip() == FIRST
    cluster.kubectl("delete", "pod", FIRST, "--wait=false")
    again = until(
        lambda: (now := ready(cluster, FIRST)) and now["metadata"]["uid"] != first["metadata"]["uid"] and now,
        what="mirror made anew",
    )
    assert again["status"]["containerStatuses"][0]["containerID"] == run
    # The agent's death does not touch it; a file written meanwhile is heeded.
    os.kill(cluster.children()["node-srv"], signal.SIGKILL)
    write(static, "second")
    until(lambda: ready(cluster, "second-srv"), what="static pod written while no agent ran")
    assert ready(cluster, FIRST)["status"]["containerStatuses"][0]["containerID"] == run
    write(static, "second", version="2")
    until(lambda: (now := ready(cluster, "second-srv")) and now["metadata"].get("labels") == {"version": "2"})
    (static / "second.yaml").unlink()
    until(lambda: "second-srv" not in cluster.kubectl("get", "pods", "-o", "name"), what="second gone")
    log = (cluster.data_dir / "log" / "node-srv.log").read_text()
    assert "manifest is no static pod file=" in log
    assert 'broken-srv" is invalid: spec.containers: Required value' in log


@contextlib.contextmanager
def prometheus(folder: Path, cluster: Cluster, token: str) -> Iterator[str]:
    (folder / "token").write_text(token)
    address = cluster.get("node", "srv")["status"]["addresses"][0]["address"]
    jobs = [
        {
            "job_name": name,
            "metrics_path": path,
            "scheme": "https",
            "authorization": {"credentials_file": str(folder / "token")},
            "tls_config": {"ca_file": str(cluster.data_dir / "pki" / "ca.crt")},
            "static_configs": [{"targets": [f"{address}:10250"]}],
        }
        for name, path in (
            ("cadvisor", "/metrics/cadvisor"),
            ("resource", "/metrics/resource"),
            ("kubelet", "/metrics"),
            ("probes", "/metrics/probes"),
        )
    ]
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(json.dumps(config))
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    process = subprocess.Popen([*command, "--web.listen-address=127.0.0.1:19090", "--log.level=error"])
    try:
        yield "http://127.0.0.1:19090"
    finally:
        process.terminate()
        process.wait()


def ask(url: str, query: str) -> list[dict[str, Any]]:
    """An instant query's result; nothing while Prometheus does not answer."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?query={urllib.parse.quote(query)}", timeout=10) as answer:
            return json.load(answer)["data"]["result"]
    except OSError:
        return []


@pytest.mark.skipif(bool(lack("prometheus")), reason=lack("prometheus"))
def test_prometheus_scrapes_a_node_with_a_service_account_token(cluster: Cluster, namespace: str, tmp_path: Path):
    cluster.kubectl("create", "serviceaccount", "prometheus", "-n", namespace)
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    limits = {"limits": {"cpu": "500m", "memory": "64Mi"}}
    busy = pod("busy", "while true; do :; done", {"resources": limits, "livenessProbe": probe})
    busy["metadata"]["namespace"] = namespace
    cluster.apply(busy)
    cluster.kubectl("create", "clusterrole", namespace, "--verb=get", "--resource=nodes/metrics")
    account = f"--serviceaccount={namespace}:prometheus"
    cluster.kubectl("create", "clusterrolebinding", namespace, f"--clusterrole={namespace}", account)
    token = cluster.kubectl("create", "token", "prometheus", "-n", namespace).strip()
    until(lambda: ready(cluster, "busy", namespace), what="busy pod")
    mine = f'namespace="{namespace}",pod="busy"'
    with prometheus(tmp_path, cluster, token) as url:
        until(lambda: len(ask(url, "up == 1")) == 4, what="all four endpoints up")
        rate = until(
            lambda: ask(url, f'rate(container_cpu_usage_seconds_total{{job="cadvisor",container="c",{mine}}}[10s])'),
            what="a rate",
        )
        assert 0 < float(rate[0]["value"][1]) < 0.75
        for series, expected in {
            f'container_spec_memory_limit_bytes{{container="c",{mine}}}': 64 << 20,
            f'container_spec_cpu_quota{{container="c",{mine}}}': 50_000,
            "machine_cpu_cores": os.cpu_count(),
        }.items():
            assert [float(each["value"][1]) for each in ask(url, series)] == [expected], series
        for series in (
            f'container_memory_working_set_bytes{{container="c",{mine}}} > 0',
            f'container_network_receive_bytes_total{{interface="eth0",{mine}}} > 0',
            f'container_start_time_seconds{{job="cadvisor",container="c",{mine}}} > 0',
            f"pod_memory_working_set_bytes{{{mine}}} > 0",
            'kubelet_running_pods{job="kubelet"} >= 2',
            'sparsam_node_power_watts{job="kubelet"} > 0',
            f'prober_probe_total{{probe_type="Liveness",result="successful",{mine}}} > 0',
        ):
            until(lambda wanted=series: ask(url, wanted), what=series)
    # The same token opens nothing else, and the API server's way in shows the rest.
    address = cluster.get("node", "srv")["status"]["addresses"][0]["address"]
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", f"{cluster.data_dir}/pki/ca.crt"]
    for path, code in (("/pods", "403"), ("/stats/summary", "403"), ("/metrics", "200")):
        asked = [*command, "-H", f"Authorization: Bearer {token}", f"https://{address}:10250{path}"]
        assert subprocess.run(asked, capture_output=True, text=True, check=False).stdout == code
    summary = json.loads(cluster.kubectl("get", "--raw", "/api/v1/nodes/srv/proxy/stats/summary"))
    (one,) = [each for each in summary["pods"] if each["podRef"]["name"] == "busy"]
    assert one["network"]["name"] == "eth0"
    assert one["cpu"]["usageNanoCores"] > 0
    assert summary["node"]["rlimit"]["curproc"] > 0
    top = until(lambda: cluster.kubectl("top", "pod", "busy", "-n", namespace, "--no-headers", check=False).split())
    assert 0 < int(top[1].removesuffix("m")) <= 600, top
    configz = json.loads(cluster.kubectl("get", "--raw", "/api/v1/nodes/srv/proxy/configz"))
    assert configz["kubeletconfig"]["authorization"]["mode"] == "Webhook"


def test_attach_carries_the_end_of_the_input(cluster: Cluster, namespace: str):
    waiting = pod("waits", "sort; echo done", {"stdin": True, "stdinOnce": True}, restartPolicy="Never")
    waiting["metadata"]["namespace"] = namespace
    cluster.apply(waiting)
    until(lambda: ready(cluster, "waits", namespace))
    shown = cluster.kubectl("attach", "-i", "waits", "-n", namespace, stdin="b\na\n")
    assert "a\nb\ndone" in shown


def test_a_pods_token_ends_with_the_pod(cluster: Cluster, namespace: str):
    one = pod("holder")
    one["metadata"]["namespace"] = namespace
    cluster.apply(one)
    until(lambda: ready(cluster, "holder", namespace))
    path = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    token = cluster.kubectl("exec", "holder", "-n", namespace, "--", "cat", path).strip()

    def review() -> dict[str, Any]:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        return json.loads(
            cluster.kubectl("create", "--validate=false", "-f", "-", "-o", "json", stdin=json.dumps(body))
        )["status"]

    status = review()
    assert status["authenticated"]
    assert status["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert status["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["holder"]
    cluster.kubectl("delete", "pod", "holder", "-n", namespace)
    until(lambda: not review().get("authenticated"), what="token not believed any more")


def test_top_shows_joules_per_request(cluster: Cluster):
    def counted() -> dict[str, Any] | None:
        lines = json.loads(cluster.sparsam("top", "pods", "-n", "default", "-o", "json").stdout)
        return next((each for each in lines if each["joules_per_request"]), None)

    found = until(counted, what="joules per request")
    assert found["name"] == "counting"
    assert found["requests_per_second"] > 0
    assert found["provenance"] in ("estimated", "measured")
    # Watts are joules per request times requests per second, but of different moments: the order must fit.
    assert 0 < found["joules_per_request"] * found["requests_per_second"] < 1000
    shown = cluster.sparsam("top", "pods", "-n", "default").stdout
    assert "J/REQUEST" in shown
    metrics = cluster.kubectl("get", "--raw", "/api/v1/nodes/srv/proxy/metrics")
    assert (
        'sparsam_pod_joules_per_request{node="srv",namespace="default",pod="counting",counter="served_total"}'
        in metrics
    )


def near_its_end(pki: Path, name: str) -> tuple[bytes, bytes]:
    """A certificate like the one in a file, with most of its ten minutes over, and its key."""
    ca = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    ca_key = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None)
    old = x509.load_pem_x509_certificate((pki / f"{name}.crt").read_bytes())
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(old.subject).issuer_name(ca.subject).serial_number(7)
    builder = builder.public_key(key.public_key()).not_valid_before(now - timedelta(hours=20))
    builder = builder.not_valid_after(now + timedelta(minutes=20))
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    pem = builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    form = serialization.PrivateFormat.PKCS8
    return pem, key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def test_certificates_near_their_end_are_replaced_while_the_node_runs(cluster: Cluster):
    pki, kubeconfig = cluster.data_dir / "pki", cluster.data_dir / "node-srv.kubeconfig"
    address = cluster.get("node", "srv")["status"]["addresses"][0]["address"]
    serving, key = near_its_end(pki, "node-srv-serving")
    (pki / "node-srv-serving.crt").write_bytes(serving)
    (pki / "node-srv-serving.key").write_bytes(key)
    client, key = near_its_end(pki, "node-srv")
    document = json.loads(kubeconfig.read_text())
    user = document["users"][0]["user"]
    user["client-certificate-data"] = base64.b64encode(client).decode()
    user["client-key-data"] = base64.b64encode(key).decode()
    kubeconfig.write_text(json.dumps(document))
    os.kill(cluster.children()["node-srv"], signal.SIGKILL)

    def shown() -> int:
        try:
            return x509.load_pem_x509_certificate(ssl.get_server_certificate((address, 10250)).encode()).serial_number
        except OSError:
            return 0

    until(lambda: shown() not in (0, 7), what="another serving certificate, without a restart")

    def in_use() -> x509.Certificate:
        user = json.loads(kubeconfig.read_text())["users"][0]["user"]
        return x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))

    until(lambda: in_use().serial_number != 7, what="another client certificate")
    known = x509.load_pem_x509_certificate(client).public_key()
    assert in_use().public_key() != known
    requests = cluster.get("csr")["items"]
    assert {each["spec"]["signerName"].partition("/")[2] for each in requests} == {
        "kube-apiserver-client-kubelet",
        "kubelet-serving",
    }
    assert cluster.kubectl("exec", FIRST, "--", "echo", "still here").strip() == "still here"


def test_a_node_goes_down_in_order_and_comes_back(cluster: Cluster, namespace: str):
    for name, more in (("usual", {}), ("critical", {"priorityClassName": "system-node-critical"})):
        one = pod(name, "trap 'exit 0' TERM; while true; do sleep 0.1; done", **more)
        one["metadata"]["namespace"] = namespace
        one["spec"]["terminationGracePeriodSeconds"] = 20
        cluster.apply(one)
    until(lambda: ready(cluster, "usual", namespace) and ready(cluster, "critical", namespace))
    cluster.sparsam("node", "shutdown")
    ended = {}
    for name in ("usual", "critical"):
        status = cluster.get("pod", name, "-n", namespace)["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "Terminated")
        assert status["message"] == "Pod was terminated in response to imminent node shutdown."
        ended[name] = status["containerStatuses"][0]["state"]["terminated"]["finishedAt"]
    assert ended["usual"] <= ended["critical"]

    def ready_condition() -> dict[str, Any]:
        conditions = cluster.get("node", "srv")["status"]["conditions"]
        return next(each for each in conditions if each["type"] == "Ready")

    until(lambda: ready_condition()["message"] == "node is shutting down", what="node not ready")
    assert (ready_condition()["status"], ready_condition()["reason"]) == ("False", "KubeletNotReady")
    os.kill(cluster.children()["node-srv"], signal.SIGKILL)
    until(lambda: ready_condition()["status"] == "True", what="node ready again")
    until(lambda: ready(cluster, FIRST), what="static pod again")
