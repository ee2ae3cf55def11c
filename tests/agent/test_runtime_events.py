"""Reading containerd's events."""

from __future__ import annotations

from sparsam.agent.runtime_events import Notice, parse_envelope
from sparsam.objects.protowire import field


def envelope(topic: str, container_id: str, exec_id: str = "") -> bytes:
    payload = field(1, container_id) + (field(2, exec_id) if exec_id else b"")
    return field(2, "k8s.io") + field(3, topic) + field(4, field(2, payload))


def test_the_end_of_a_container_is_noticed_and_of_a_command_in_it_is_not():
    assert parse_envelope(envelope("/tasks/exit", "c1", "c1")) == Notice(container_id="c1")
    assert parse_envelope(envelope("/tasks/exit", "c1", "some-exec")) is None
    assert parse_envelope(envelope("/tasks/oom", "c1")) == Notice(container_id="c1", oom=True)
