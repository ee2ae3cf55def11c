"""What the engine is told of a container."""

from __future__ import annotations

import pytest

from sparsam.agent.containers import ContainerPlan, SandboxPlan, container_config, sandbox_config
from sparsam.agent.dns import Resolver
from sparsam.agent.resources import container_resources, qos_class
from sparsam.agent.runtime import GRACE_SECONDS, Image
from sparsam.agent.volumes import BlockDevice
from tests.support.agent import container, pod

SANDBOX = SandboxPlan(
    attempt=0, hostname="p", resolver=Resolver(), log_directory="/log", cgroup_parent="", node_name="n"
)


def configured(wanted, devices=()):
    spec = wanted["spec"]["containers"][0]
    plan = ContainerPlan(
        attempt=0,
        image=Image("sha256:1", (), (), 0),
        environment={},
        mounts=(),
        devices=devices,
        resources=container_resources(spec, qos_class(wanted), 1 << 30),
    )
    return container_config(wanted, spec, plan)


@pytest.mark.parametrize(("asked", "kept"), [(0, "0"), (7, "7"), (None, "30")])
def test_the_grace_is_kept_for_an_agent_that_finds_the_pod_gone(asked, kept):
    wanted = pod(container(), terminationGracePeriodSeconds=asked)
    assert configured(wanted).annotations[GRACE_SECONDS] == kept


def test_devices_come_with_the_rights_that_the_claim_gives():
    devices = (BlockDevice("/dev/loop0", "/dev/x"), BlockDevice("/dev/loop1", "/dev/y", read_only=True))
    found = [(each.host_path, each.container_path, each.permissions) for each in configured(pod(), devices).devices]
    assert found == [("/dev/loop0", "/dev/x", "mrw"), ("/dev/loop1", "/dev/y", "r")]


def test_selinux_options_are_the_engines_business():
    own = {"seLinuxOptions": {"level": "s0:c1"}}
    wanted = pod(container(), securityContext={"seLinuxOptions": {"level": "s0", "type": "spc_t"}})
    assert sandbox_config(wanted, SANDBOX).linux.security_context.selinux_options.type == "spc_t"
    assert configured(wanted).linux.security_context.selinux_options.level == "s0"
    wanted["spec"]["containers"][0]["securityContext"] = own
    assert configured(wanted).linux.security_context.selinux_options.level == "s0:c1"
    assert not configured(pod()).linux.security_context.HasField("selinux_options")
