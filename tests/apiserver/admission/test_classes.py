import asyncio

import pytest

from sparsam.apiserver.admission.classes import class_fault
from tests.support.apiserver import serving
from tests.support.http import http_client

BASE = "/api/v1/namespaces/default"
PODS, CLAIMS = f"{BASE}/pods", f"{BASE}/persistentvolumeclaims"
STORAGE, INGRESS_CLASSES = "/apis/storage.k8s.io/v1/storageclasses", "/apis/networking.k8s.io/v1/ingressclasses"
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
RUNTIMES = "/apis/node.k8s.io/v1/runtimeclasses"
MERGE = "application/merge-patch+json"


def storage_class(name, default="true", **more):
    annotations = {"storageclass.kubernetes.io/is-default-class": default}
    return {"metadata": {"name": name, "annotations": annotations}, "provisioner": "x.example/y", **more}


def claim(name="v", **spec):
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}
    return {"metadata": {"name": name}, "spec": wanted}


def pod(**spec):
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


@pytest.fixture
async def http(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as client:
        await client("POST", f"{BASE}/serviceaccounts", {"metadata": {"name": "default"}})
        yield client


async def test_a_claim_gets_the_newest_default_class(http):
    _, without = await http("POST", CLAIMS, claim("a"))
    assert "storageClassName" not in without["spec"]
    await http("POST", STORAGE, storage_class("old"))
    await http("POST", STORAGE, storage_class("no", default="false"))
    await asyncio.sleep(1.0)  # creation times have whole seconds
    await http("POST", STORAGE, storage_class("new"))
    assert (await http("POST", CLAIMS, claim("b")))[1]["spec"]["storageClassName"] == "new"
    assert (await http("POST", CLAIMS, claim("c", storageClassName="")))[1]["spec"]["storageClassName"] == ""


async def test_an_ingress_gets_the_one_default_class(http):
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    made = {"name": "first", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}
    await http("POST", INGRESS_CLASSES, {"metadata": made, "spec": {"controller": "x.example/y"}})
    code, ingress = await http("POST", INGRESSES, {"metadata": {"name": "i"}, "spec": {"defaultBackend": backend}})
    assert (code, ingress["spec"]["ingressClassName"]) == (201, "first")
    await http("POST", INGRESS_CLASSES, {"metadata": made | {"name": "second"}, "spec": {"controller": "x.example/y"}})
    code, status = await http("POST", INGRESSES, {"metadata": {"name": "j"}, "spec": {"defaultBackend": backend}})
    assert code == 403
    assert "2 default IngressClasses were found, only 1 allowed" in status["message"]


async def test_a_pod_gets_what_its_runtime_class_brings_along(http):
    toleration = {"key": "sandbox", "operator": "Exists"}
    scheduling = {"nodeSelector": {"sandbox": "yes"}, "tolerations": [toleration]}
    runtime = {
        "metadata": {"name": "r"},
        "handler": "h",
        "overhead": {"podFixed": {"memory": "64Mi"}},
        "scheduling": scheduling,
    }
    code, answer = await http("POST", RUNTIMES, runtime)
    assert code == 201, answer
    _, created = await http("POST", PODS, pod(runtimeClassName="r", nodeSelector={"disk": "ssd"}))
    spec = created["spec"]
    assert (spec["overhead"], spec["nodeSelector"]) == ({"memory": "64Mi"}, {"disk": "ssd", "sandbox": "yes"})
    assert toleration in spec["tolerations"]
    code, status = await http("POST", PODS, pod(runtimeClassName="none"))
    assert code == 403
    assert status["message"] == 'pods "p" is forbidden: pod rejected: RuntimeClass "none" not found'


@pytest.mark.parametrize(
    ("spec", "found", "fault"),
    [
        ({}, None, ""),
        ({"overhead": {"cpu": "1"}}, {}, "set without corresponding RuntimeClass"),
        ({"overhead": {"cpu": "1"}}, {"overhead": {"podFixed": {"cpu": "1000m"}}}, ""),
        ({"overhead": {"cpu": "1"}}, {"overhead": {"podFixed": {"cpu": "2"}}}, "doesn't match"),
        (
            {"nodeSelector": {"a": "b"}},
            {"scheduling": {"nodeSelector": {"a": "c"}}},
            "conflict: runtimeClass.scheduling.nodeSelector[a] = c; pod.spec.nodeSelector[a] = b",
        ),
    ],
)
def test_a_pod_may_not_contradict_its_runtime_class(spec, found, fault):
    assert fault in class_fault(spec, found)
    assert bool(class_fault(spec, found)) is bool(fault)


async def test_a_claim_grows_only_where_it_can(http):
    await http("POST", STORAGE, storage_class("fixed", default="false"))
    await http("POST", STORAGE, storage_class("elastic", default="false", allowVolumeExpansion=True))
    larger = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    bound = {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
    for name in ("fixed", "elastic"):
        await http("POST", CLAIMS, claim(name, storageClassName=name, volumeName="pv"))
        if name == "fixed":
            code, status = await http("PATCH", f"{CLAIMS}/{name}", larger, content_type=MERGE)
            assert code in (403, 422)
        await http("PATCH", f"{CLAIMS}/{name}/status", bound, content_type=MERGE)
    code, status = await http("PATCH", f"{CLAIMS}/fixed", larger, content_type=MERGE)
    assert (code, "must support resize" in status["message"]) == (403, True)
    code, status = await http("PATCH", f"{CLAIMS}/elastic", larger, content_type=MERGE)
    assert (code, "fetching associated persistent volume failed" in status["message"]) == (403, True)
    volume = {
        "metadata": {"name": "pv"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "csi": {"driver": "x.example", "volumeHandle": "h"},
        },
    }
    await http("POST", "/api/v1/persistentvolumes", volume)
    assert (await http("PATCH", f"{CLAIMS}/elastic", larger, content_type=MERGE))[0] == 200
