from sparsam.objects import schema
from sparsam.objects.kinds import DEPLOYMENTS, PODS, RESOURCES


def test_every_served_kind_has_a_definition():
    assert [each.plural for each in RESOURCES if not schema.kind_definition(each.group, each.version, each.kind)] == []


def test_fields_know_their_types_and_how_lists_merge():
    containers = schema.definition("io.k8s.api.core.v1.PodSpec").fields["containers"]
    assert (containers.type, containers.merge_key, containers.keys) == (
        "[]@io.k8s.api.core.v1.Container",
        "name",
        ("name",),
    )
    assert containers.definition == "io.k8s.api.core.v1.Container"
    replicas = schema.definition("io.k8s.api.apps.v1.DeploymentSpec").fields["replicas"]
    assert (replicas.type, replicas.emit) == ("int32", "pointer")


def test_definitions_name_their_go_types():
    assert schema.for_resource(DEPLOYMENTS).go_type == "v1.Deployment"
    assert schema.for_resource(PODS).go_struct == "Pod"


def test_every_definition_that_is_referred_to_exists_and_is_described():
    texts = schema.descriptions()
    for name in schema.definition_names():
        assert name in texts
        for field in schema.definition(name).fields.values():
            if field.definition:
                schema.definition(field.definition)
