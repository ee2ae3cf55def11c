"""What a server makes at its start."""

from sparsam.store.memory import MemoryStore
from tests.support.apiserver import serving
from tests.support.http import http_client

RANGE = "/apis/networking.k8s.io/v1/servicecidrs/kubernetes"


async def test_the_range_of_services_is_an_object_that_is_ready_and_stays_what_it_was(tmp_path):
    found, store = [], await MemoryStore.open()
    for name in ("first", "second"):
        async with serving(tmp_path / name, store=store) as server, http_client(server) as http:
            code, service_cidr = await http("GET", RANGE)
            assert code == 200
            found.append((service_cidr["metadata"]["uid"], service_cidr["status"]))
            assert service_cidr["spec"] == {"cidrs": ["10.96.0.0/16"]}
            (ready,) = service_cidr["status"]["conditions"]
            assert (ready["type"], ready["status"]) == ("Ready", "True")
            assert (await http("GET", f"{RANGE}/status"))[1]["metadata"]["uid"] == service_cidr["metadata"]["uid"]
    assert found[0] == found[1]
