"""Admission policies and their bindings for tests."""

import asyncio
import itertools

GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES = f"{GROUP}/validatingadmissionpolicies"
BINDINGS = f"{GROUP}/validatingadmissionpolicybindings"
_NUMBERS = itertools.count()


def rule(resource="configmaps", group="", operations=("CREATE", "UPDATE"), **more):
    """A rule about one resource."""
    named = {"apiGroups": [group], "apiVersions": ["v1"], "resources": [resource], "operations": list(operations)}
    return {**named, **more}


def policy(*validations, name="p.example.com", rules=(), **spec):
    """A policy; a validation may be its expression alone."""
    found = [{"expression": each} if isinstance(each, str) else each for each in validations]
    constraints = spec.pop("matchConstraints", {"resourceRules": list(rules) or [rule()]})
    return {"metadata": {"name": name}, "spec": {"matchConstraints": constraints, "validations": found, **spec}}


def binding(name="b.example.com", to="p.example.com", actions=("Deny",), **spec):
    """A binding."""
    return {"metadata": {"name": name}, "spec": {"policyName": to, "validationActions": list(actions), **spec}}


async def enforce(http, made, bound=None):
    """Store a policy with a binding and wait until the server follows them."""
    code, answer = await http("POST", POLICIES, made)
    assert code == 201, answer
    code, answer = await http("POST", BINDINGS, bound or binding(to=made["metadata"]["name"]))
    assert code == 201, answer
    await settled(http)


async def settled(http):
    """Wait until the server follows all policies and bindings stored so far: until it follows one stored now."""
    name = f"a-marker-{next(_NUMBERS)}"
    made = policy("false", name=name, rules=[rule(resourceNames=[name])])
    for path, obj in ((POLICIES, made), (BINDINGS, binding(name, name))):
        code, answer = await http("POST", path, obj)
        assert code == 201, answer
    probe = {"metadata": {"name": name}}
    while name not in (await http("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", probe))[1].get(
        "message", ""
    ):
        await asyncio.sleep(0.01)
    for path in (BINDINGS, POLICIES):
        await http("DELETE", f"{path}/{name}")
