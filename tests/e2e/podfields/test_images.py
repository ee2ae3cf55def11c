"""Images and commands that are there, private, spoilt or missing, from a registry that the test itself serves."""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import until
from tests.e2e.podfields.conftest import SHELL, Batch, Obj, container, pod, state, waits
from tests.support.faultyregistry import Registry

WORD = ["cat", "/word"]


def of(name: str, image: str, policy: str = "IfNotPresent", **spec: object) -> Obj:
    run = {"name": "c", "image": image, "command": WORD, "imagePullPolicy": policy}
    return pod(name, run, **spec)


def secrets(*names: str) -> dict[str, object]:
    return {"imagePullSecrets": [{"name": name} for name in names]}


OBJECTS = [
    pod("fine", container(), restartPolicy="Always"),
    pod("no-command", {**container(), "command": ["/no/such"]}),
    pod("no-program", {**container(), "command": ["nosuch"]}, restartPolicy="Always"),
    pod("not-executable", {**container(), "command": ["/etc/passwd"]}),
    pod("a-directory", {**container(), "command": ["/etc"]}),
    pod("bad-directory", container(workingDir="/etc/passwd")),
    of("bad-name", "UPPER/case:1"),
    of("never", "localhost/no/such:1", "Never"),
]
_registries: list[Registry] = []


@pytest.fixture(scope="module", autouse=True)
def registry() -> Iterator[Registry]:
    with Registry() as one:
        _registries.append(one)
        yield one


def prepare(_: Batch) -> list[Obj]:
    """Pods whose images come from the registry."""
    registry = _registries[-1]
    good, private = registry.add("good/app", word="good\n"), registry.add("private/app", word="mine\n")
    registry.add("good/pinned", word="pinned\n")
    return [
        registry.secret("right"),
        registry.secret("wrong", "nonsense"),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "puller"},
         "imagePullSecrets": [{"name": "right"}]},
        of("good", good),
        of("index", registry.add("good/index", index=True, word="indexed\n")),
        of("digest", registry.by_digest("good/pinned")),
        of("missing", f"{registry.host}/good/nosuch:1"),
        of("missing-tag", f"{registry.host}/good/app:2"),
        of("private", private, **secrets("nosuch", "wrong", "right")),
        of("anonymous", registry.add("private/anonymous")),
        of("wrong", registry.add("private/wrong"), **secrets("wrong")),
        of("by-account", registry.add("private/account", word="account\n"), serviceAccountName="puller"),
        of("changed", registry.add("changed/app")),
        of("cut", registry.add("cut/app")),
        of("foreign", registry.add("good/foreign", architecture="s390x", index=True)),
        of("hangs", registry.add("hangs/app")),
        of("hangs-too", registry.add("hangs/too")),
        of("nobody", "127.0.0.1:1/app:1"),
    ]  # fmt: skip


def test_images_are_pulled_by_tag_digest_and_index(batch: Batch, registry: Registry):
    assert (batch.said("good"), batch.said("index"), batch.said("digest")) == ("good", "indexed", "pinned")
    pulled = batch.until_event("good", "Pulled")
    assert pulled.startswith(f'Successfully pulled image "{registry.host}/good/app:1" in ')
    assert "including waiting). Image size: " in pulled
    status = batch.pod("digest")["status"]["containerStatuses"][0]
    assert status["imageID"] == registry.by_digest("good/pinned")


def test_pull_policies_are_kept(batch: Batch, registry: Registry):
    batch.ended("good")
    before = registry.asked["good/app:1"]
    name = f"{registry.host}/good/app:1"
    batch.create(of("again", name), of("always", name, "Always"), of("present", name, "Never"))
    assert batch.said("again") == batch.said("always") == batch.said("present") == "good"
    assert registry.asked["good/app:1"] > before
    assert "already present on machine" in batch.until_event("again", "Pulled")
    batch.until("never", waits("ErrImageNeverPull", "is not present with pull policy of Never"))


def test_private_images_need_credentials_of_the_pod_or_its_account(batch: Batch, registry: Registry):
    assert batch.said("private") == "mine"
    assert "(nosuch)" in batch.until_event("private", "FailedToRetrieveImagePullSecret")
    assert batch.said("by-account") == "account"
    for name in ("anonymous", "wrong"):
        message = batch.until_event(name, "Failed", "Failed to pull image")
        assert "401 Unauthorized" in message
        batch.until(name, waits("ImagePullBackOff", "Back-off pulling image"))


def test_a_private_image_that_is_there_is_not_for_everybody(batch: Batch, registry: Registry):
    batch.ended("private")
    asked = registry.asked["private/app:1"]
    image = f"{registry.host}/private/app:1"
    batch.create(of("guest", image), of("guest-never", image, "Never"), of("friend", image, **secrets("right")))
    assert batch.said("friend") == "mine"
    assert registry.asked["private/app:1"] == asked
    batch.until_event("guest", "Failed", "401 Unauthorized")
    batch.until("guest-never", waits("ErrImageNeverPull", "pulled with credentials that this pod does not have"))


def test_what_is_wrong_with_an_image_is_said(batch: Batch, registry: Registry):
    expected = {
        "missing": "not found",
        "missing-tag": "not found",
        "changed": "failed commit on ref",
        "cut": "unexpected EOF",
        "foreign": "no match for platform",
        "nobody": "connection refused",
    }
    for name, words in expected.items():
        event = batch.until_event(name, "Failed", "Failed to pull image")
        assert words in event, name
        batch.until(name, waits("ImagePullBackOff", f"ErrImagePull: {event.partition(': ')[2][:60]}"))
        assert batch.until_event(name, "BackOff").startswith("Back-off pulling image ")
        assert batch.pod(name)["status"]["phase"] == "Pending"
    batch.until("bad-name", waits("InvalidImageName", "invalid reference format"))


def test_failed_pulls_are_tried_again_later_each_time(batch: Batch, registry: Registry):
    batch.until_event("missing", "Failed", "Failed to pull image")
    registry.add("good/nosuch", word="late\n")
    assert batch.said("missing") == "late"


def test_a_registry_that_hangs_holds_up_nobody_else(batch: Batch, registry: Registry):
    until(lambda: registry.asked["hangs/app:1"] and registry.asked["hangs/too:1"], what="both to hang")
    assert state(batch.pod("hangs")).get("waiting", {}).get("reason") == "ContainerCreating"
    batch.running("fine")
    batch.kubectl("delete", "pod", "hangs", "--timeout=60s")


def test_commands_that_cannot_run_say_why(batch: Batch):
    expected = {
        "no-command": "no such file or directory",
        "not-executable": "permission denied",
        "a-directory": "permission denied",
        "bad-directory": "not a directory",
    }
    for name, words in expected.items():
        failed = batch.ended(name)["status"]
        ended = failed["containerStatuses"][0]["state"]["terminated"]
        assert (failed["phase"], ended["reason"], ended["exitCode"]) == ("Failed", "StartError", 128)
        assert words in ended["message"].lower(), name
        assert words in batch.until_event(name, "Failed", "Error: failed to create containerd task").lower()
    batch.until("no-program", waits("CrashLoopBackOff"))
    assert 'exec: "nosuch": executable file not found in $PATH' in batch.until_event("no-program", "Failed")
    assert state(batch.pod("fine")).get("running")
    assert SHELL
