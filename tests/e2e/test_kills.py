"""kill -9 of the engine, of shims, of the node's process and of the API server in the middle of each phase of a pod.

Pods become what they should be, nothing leaks, no container runs twice for one pod, no acknowledged write is lost.
`make faults` does the same with 200 kills. The seed is printed; SPARSAM_SEED repeats it.
"""

import asyncio
import json
import os
import random
import time
from pathlib import Path

import pytest

from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.objects.kinds import CONFIGMAPS, SECRETS
from tests.e2e.conftest import Cluster, running_cluster, until
from tests.support.leaks import NodeFiles, difference
from tests.support.registry import SlowRegistry
from tests.support.storm import NAMESPACE, Storm
from tests.support.witness import Witness, archive, entries

pytestmark = [pytest.mark.proof, pytest.mark.fault]

KILLS = int(os.environ.get("SPARSAM_KILLS", "13"))
SEED = int(os.environ.get("SPARSAM_SEED", "20261129"))
NODE = "storm"
LEAK_SECONDS = 90


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    tmp = tmp_path_factory.mktemp("kills")
    with running_cluster(tmp, "--node-name", NODE) as one:
        one.sparsam("images", "load", str(archive(tmp / "witness.tar")))
        until(lambda: one.get("serviceaccounts")["items"], what="default service account")
        yield one


async def prepare(client: ApiClient) -> None:
    meta = {"name": "storm"}
    await client.create(
        CONFIGMAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"key": "v"}}, NAMESPACE
    )
    await client.create(
        SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"key": "v"}}, NAMESPACE
    )


@pytest.mark.timeout(3600)
async def test_pods_survive_kills_in_every_phase(cluster: Cluster, tmp_path: Path):
    print(f"seed {SEED}, {KILLS} kills")
    files = NodeFiles.of(cluster.data_dir, cluster.run_dir, NODE)
    directory = tmp_path / "witness"
    directory.mkdir(mode=0o777)
    witness = Witness(directory)
    before = files.inventory(set())
    client = ApiClient(load_kubeconfig(cluster.kubeconfig))
    async with client, SlowRegistry(entries()) as registry:
        await prepare(client)
        storm = Storm(client, files, cluster.children, witness, registry, random.Random(SEED))
        began = time.monotonic()
        await storm.blow(KILLS)
        print(f"{storm.kills.total()} kills in {time.monotonic() - began:.0f} s: {dict(storm.kills)}")
        began = time.monotonic()
        wrong = await storm.calm()
        print(f"calm after {time.monotonic() - began:.0f} s, {sum(witness.starts().values())} containers started")
        lost = await storm.lost_writes()
        stay = await storm.clear()
        leaks = await settled(files, before, storm.sockets)
    starts = witness.starts()
    twice = {key: starts[key] for key in storm.once if starts[key] > 1}
    found = {
        "wrong": wrong, "lost writes": lost, "stay": stay, "leaks": leaks, "complaints": witness.complaints(),
        "twice": twice,
    }  # fmt: skip
    print(json.dumps(found, indent=1, default=str))
    assert not any(found.values()), found
    assert storm.written
    assert starts


async def settled(files: NodeFiles, before: dict[str, set[str]], sockets: set[str]) -> dict[str, list[str]]:
    deadline = time.monotonic() + LEAK_SECONDS
    while True:
        leaks = difference(before, await asyncio.to_thread(files.inventory, sockets))
        if not leaks or time.monotonic() > deadline:
            return leaks
        await asyncio.sleep(1)
