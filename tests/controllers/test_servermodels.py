import json

import pytest

from sparsam.controllers.servermodels import ServerModels, chosen, fault_of, status_of, wanted_annotations
from sparsam.objects.kinds import NODES, SERVERMODELS
from sparsam.power.model import decode
from sparsam.power.server import MODEL_ANNOTATION
from tests.support.controllers import controlled, eventually

MODEL = {
    "schema": "power.sparsam.dev/server-model/v1",
    "family": "linear",
    "coefficients": {"idle_watts": 100.0, "range_watts": 150.0},
    "units": {"load": "ratio", "power": "watt"},
    "loadRange": [0.0, 1.0],
    "source": "a test",
    "date": "2026-11-23",
}


def server_model(name="m", model=MODEL, **spec):
    return {
        "apiVersion": "power.sparsam.dev/v1alpha1",
        "kind": "ServerModel",
        "metadata": {"name": name},
        "spec": {"model": model, **spec},
    }


def node(name="n1", annotations=None, **labels):
    metadata = {"name": name, "labels": labels, "annotations": annotations or {}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}


def test_a_model_with_the_nodes_name_goes_before_one_of_its_type():
    by_type, by_name = server_model("a", nodeSelector={"type": "x"}), server_model("z", nodeName="n1")
    assert chosen(node(type="x"), [by_type, by_name]) is by_name
    assert chosen(node("n2", type="x"), [by_type, by_name]) is by_type
    assert chosen(node("n2"), [by_type, by_name]) is None


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (server_model(), "exactly one of spec.nodeName and spec.nodeSelector"),
        (server_model(nodeName="a", nodeSelector={"b": "c"}), "exactly one of"),
        (server_model(nodeName="a", model={**MODEL, "schema": "v9"}), "unknown schema"),
        (server_model(nodeName="a", model={**MODEL, "family": "crystal ball"}), "unknown family"),
        (server_model(nodeName="a", model={**MODEL, "coefficients": {"idle_watts": 1.0}}), "coefficients of linear"),
    ],
)
def test_a_model_that_does_not_hold_up_is_refused_with_the_reason(model, words):
    assert words in fault_of(model)
    condition = status_of(model, fault_of(model), [], "now")["conditions"][0]
    assert (condition["status"], condition["lastTransitionTime"]) == ("False", "now")


def test_a_condition_keeps_its_time_while_it_stays():
    model = server_model(nodeName="n1")
    model["status"] = status_of(model, "", ["n1"], "then")
    assert status_of(model, "", ["n1"], "now") == model["status"]
    assert status_of(model, "broken", [], "now")["conditions"][0]["lastTransitionTime"] == "now"


def test_an_annotation_that_somebody_wrote_by_hand_stays():
    mine = node(annotations={MODEL_ANNOTATION: "{}"})
    assert wanted_annotations(mine, server_model(nodeName="n1")) == {}
    assert wanted_annotations(mine, None) == {}


async def test_a_model_reaches_its_node_and_leaves_it_again(tmp_path):
    async with controlled(tmp_path, ServerModels) as client:
        await client.create(NODES, node())
        await client.create(SERVERMODELS, server_model(nodeName="n1"))

        async def annotation():
            return (await client.get(NODES, "n1"))["metadata"].get("annotations", {}).get(MODEL_ANNOTATION)

        assert decode((await eventually(annotation)).encode()).idle_watts == 100.0

        async def carried():
            return (await client.get(SERVERMODELS, "m")).get("status", {}).get("nodes")

        assert await eventually(carried) == ["n1"]
        changed = json.loads(json.dumps(MODEL))
        changed["coefficients"]["idle_watts"] = 90.0
        await client.patch(SERVERMODELS, "m", {"spec": {"model": changed}})

        async def followed():
            return decode((await annotation()).encode()).idle_watts == 90.0

        await eventually(followed)
        await client.delete(SERVERMODELS, "m")

        async def gone():
            return await annotation() is None

        await eventually(gone)
