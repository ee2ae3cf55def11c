import pytest

from sparsam.apiserver.admission.limitranger import claim_faults, pod_faults, set_defaults
from tests.support.apiserver import serving
from tests.support.http import http_client

BASE = "/api/v1/namespaces/default"
PODS, CLAIMS, RANGES = f"{BASE}/pods", f"{BASE}/persistentvolumeclaims", f"{BASE}/limitranges"


def container(name="c", requests=None, limits=None):
    resources = {"requests": requests, "limits": limits}
    return {"name": name, "image": "i", "resources": {key: value for key, value in resources.items() if value}}


def pod(*containers, **spec):
    return {"metadata": {"name": "p"}, "spec": {"containers": list(containers) or [container()], **spec}}


def limit_range(kind="Container", **limit):
    return {"metadata": {"name": "l"}, "spec": {"limits": [{"type": kind, **limit}]}}


def claim(storage):
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}
    return {"metadata": {"name": "v"}, "spec": spec}


def test_defaults_fill_in_what_is_missing_and_say_so():
    changed = pod(container(requests={"cpu": "2"}), container("d"), initContainers=[container("i")])
    defaults = limit_range(default={"memory": "1Gi", "cpu": "1"}, defaultRequest={"cpu": "500m"})
    set_defaults(changed, defaults)
    first, second = changed["spec"]["containers"]
    assert first["resources"] == {"requests": {"cpu": "2"}, "limits": {"memory": "1Gi", "cpu": "1"}}
    assert second["resources"]["requests"] == {"cpu": "500m"}
    assert changed["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, memory limit for container c; cpu request for container d; "
        "cpu, memory limit for container d; cpu request for init container i; cpu, memory limit for init container i"
    )
    again = pod(container(requests={"cpu": "1"}, limits={"cpu": "1"}))
    set_defaults(again, limit_range(default={"cpu": "3"}))
    assert "annotations" not in again["metadata"]


@pytest.mark.parametrize(
    ("limit", "resources", "fault"),
    [
        ({"min": {"cpu": "200m"}}, {"requests": {"cpu": "100m"}}, "minimum cpu usage per Container is 200m, but request is 100m"),
        ({"min": {"cpu": "200m"}}, {}, "minimum cpu usage per Container is 200m.  No request is specified"),
        (
            {"min": {"cpu": "200m"}},
            {"requests": {"cpu": "200m"}, "limits": {"cpu": "150m"}},
            "minimum cpu usage per Container is 200m, but limit is 150m",
        ),
        ({"max": {"memory": "1Gi"}}, {"limits": {"memory": "1536Mi"}}, "maximum memory usage per Container is 1Gi, but limit is 1536Mi"),
        ({"max": {"memory": "1Gi"}}, {}, "maximum memory usage per Container is 1Gi.  No limit is specified"),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"requests": {"cpu": "100m"}, "limits": {"cpu": "2"}},
            "cpu max limit to request ratio per Container is 2, but provided ratio is 20.000000",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"limits": {"cpu": "2"}},
            "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
        ),
        ({"min": {"cpu": "1"}, "max": {"cpu": "2"}}, {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}, None),
    ],
)  # fmt: skip
def test_containers_are_held_to_their_limits(limit, resources, fault):
    faults = list(pod_faults(limit_range(**limit), pod(container(**resources)), None))
    assert faults == ([fault] if fault else [])


def test_a_pod_is_held_to_the_sum_of_its_containers():
    two = pod(container(requests={"cpu": "1"}), container("d", requests={"cpu": "1500m"}))
    faults = list(pod_faults(limit_range("Pod", min={"cpu": "3"}), two, None))
    assert faults == ["minimum cpu usage per Pod is 3, but request is 2500m"]


def test_what_an_update_leaves_alone_is_not_held_against_it():
    before = pod(container(requests={"cpu": "100m"}), container("d", requests={"cpu": "100m"}))
    after = pod(container(requests={"cpu": "100m"}), container("d", requests={"cpu": "150m"}))
    faults = list(pod_faults(limit_range(min={"cpu": "200m"}), after, before))
    assert faults == ["minimum cpu usage per Container is 200m, but request is 150m"]
    small = limit_range("PersistentVolumeClaim", min={"storage": "1Gi"}, max={"storage": "2Gi"})
    assert list(claim_faults(small, claim("3Gi"), claim("3Gi"))) == []
    assert list(claim_faults(small, claim("3Gi"), None)) == [
        "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"
    ]


@pytest.fixture
async def http(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as client:
        await client("POST", f"{BASE}/serviceaccounts", {"metadata": {"name": "default"}})
        yield client


async def test_a_new_pod_gets_defaults_and_is_refused_beyond_the_limits(http):
    await http("POST", RANGES, limit_range(max={"cpu": "1", "memory": "1Gi"}, defaultRequest={"cpu": "100m"}))
    code, created = await http("POST", PODS, pod())
    assert code == 201
    resources = created["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "1Gi"}}
    large = pod(container(limits={"cpu": "2", "memory": "2Gi"}))
    code, status = await http("POST", PODS, large | {"metadata": {"name": "large"}})
    assert (code, status["reason"]) == (403, "Forbidden")
    assert status["message"] == (
        'pods "large" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, '
        "maximum memory usage per Container is 1Gi, but limit is 2Gi]"
    )
    created["metadata"]["labels"] = {"a": "b"}
    assert (await http("PUT", f"{PODS}/p", created))[0] == 200


async def test_a_claim_is_refused_beyond_the_limits(http):
    await http("POST", RANGES, limit_range("PersistentVolumeClaim", min={"storage": "1Gi"}))
    code, status = await http("POST", CLAIMS, claim("1Mi"))
    assert code == 403
    assert "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi" in status["message"]
    assert (await http("POST", CLAIMS, claim("2Gi")))[0] == 201
