"""APIServices of custom resources come and go with their definitions."""

import asyncio

from tests.support.apiserver import serving
from tests.support.customresources import definition
from tests.support.extensionserver import APISERVICES
from tests.support.http import http_client

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def test_custom_resources_have_an_apiservice_as_long_as_they_are_served(tmp_path):
    async with serving(tmp_path) as server, http_client(server) as http:
        assert (await http("POST", DEFINITIONS, definition()))[0] == 201
        while (await http("GET", f"{APISERVICES}/v1.example.com"))[0] != 200:
            await asyncio.sleep(0.05)
        _, found = await http("GET", f"{APISERVICES}/v1.example.com")
        assert found["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "true"}
        assert (found["spec"]["groupPriorityMinimum"], found["spec"]["versionPriority"]) == (1000, 100)
        await http("DELETE", f"{DEFINITIONS}/widgets.example.com")
        while (await http("GET", f"{APISERVICES}/v1.example.com"))[0] != 404:
            await asyncio.sleep(0.05)
