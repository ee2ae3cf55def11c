import pytest

from sparsam.apiserver.media import negotiate
from sparsam.errors import NotAcceptable

TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)


@pytest.mark.parametrize(
    ("accept", "content_type", "kind"),
    [
        ("", "application/json", ""),
        ("*/*", "application/json", ""),
        ("application/yaml", "application/yaml", ""),
        ("application/vnd.kubernetes.protobuf,application/json", "application/json", ""),
        ("application/vnd.kubernetes.protobuf, */*", "application/json", ""),
        (TABLE, "application/json", "Table"),
        (
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            "application/json",
            "PartialObjectMetadataList",
        ),
        (
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            "application/json",
            "APIGroupDiscoveryList",
        ),
        ("application/json;q=0.1, application/yaml;q=0.9", "application/yaml", ""),
        ("application/json;as=Unknown;g=x;v=v1, application/json", "application/json", ""),
    ],
)
def test_the_first_form_that_is_offered_wins(accept, content_type, kind):
    media = negotiate(accept)
    assert (media.content_type, media.kind) == (content_type, kind)


@pytest.mark.parametrize(
    "accept", ["text/html", "application/vnd.kubernetes.protobuf", "application/json;as=Table;g=x;v=v1"]
)
def test_what_cannot_be_produced_is_refused(accept):
    with pytest.raises(NotAcceptable):
        negotiate(accept)
