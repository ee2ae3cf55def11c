"""What is served at the moment, and the streams about what is not any more."""

import asyncio

import pytest

from sparsam.apiserver import served as module
from sparsam.apiserver.served import Served
from sparsam.objects.catalog import Catalog
from sparsam.objects.customresources import resources_of
from sparsam.objects.kinds import PODS
from tests.support.customresources import OPEN, accepted, definition, version


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(module, "LAST_WORDS_SECONDS", 0)


def catalog(*versions):
    return Catalog(resources_of(accepted(definition(*versions))))


async def test_documents_are_made_once_for_each_catalog():
    made = []
    served = Served(lambda each: made.append(each) or {})
    assert served.paths() is served.paths()
    served.exchange(catalog())
    served.paths()
    assert made == [module.BUILT_IN, served.catalog]


async def test_streams_end_when_their_resource_changes_and_not_before():
    served = Served(lambda _each: {})
    assert served.end_of(PODS) is None
    served.exchange(catalog())
    ended = served.end_of(served.catalog.custom[0])
    served.exchange(catalog())
    await asyncio.sleep(0.01)
    assert not ended.is_set()
    served.exchange(catalog(version(schema=OPEN)))
    async with asyncio.timeout(30):
        await ended.wait()


async def test_a_stream_about_what_went_just_now_ends_at_once():
    served = Served(lambda _each: {})
    (stale,) = catalog().custom
    async with asyncio.timeout(30):
        await served.end_of(stale).wait()
