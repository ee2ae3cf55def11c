"""Rules and defaults of volumes."""

import pytest

from tests.support.pods import checked, pod

V = "spec.volumes[0]"


def test_sources_get_modes_and_a_volume_without_one_is_an_empty_directory():
    volumes = [{"name": "e"}, {"name": "s", "secret": {"secretName": "x"}}, {"name": "h", "hostPath": {"path": "/"}}]
    made, causes = checked(pod(volumes=volumes))
    assert causes == []
    assert made["spec"]["volumes"] == [
        {"name": "e", "emptyDir": {}},
        {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}},
        {"name": "h", "hostPath": {"path": "/", "type": ""}},
    ]


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ({"secret": {}}, ("Required", f"{V}.secret.secretName")),
        ({"configMap": {"name": "x", "defaultMode": 512}}, ("Invalid", f"{V}.configMap.defaultMode")),
        ({"configMap": {"name": "x", "items": [{"key": "k", "path": "../a"}]}},
         ("Invalid", f"{V}.configMap.items[0].path")),
        ({"hostPath": {"path": "/a/../b"}}, ("Invalid", f"{V}.hostPath.path")),
        ({"emptyDir": {}, "hostPath": {"path": "/"}}, ("Forbidden", f"{V}.hostPath")),
        ({"persistentVolumeClaim": {}}, ("Required", f"{V}.persistentVolumeClaim.claimName")),
        ({"nfs": {"server": "s", "path": "p"}}, ("Invalid", f"{V}.nfs.path")),
        ({"csi": {}}, ("Required", f"{V}.csi.driver")),
        ({"ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
         ("Required", f"{V}.ephemeral.volumeClaimTemplate.spec.accessModes")),
        ({"downwardAPI": {"items": [{"path": "a"}]}}, ("Required", f"{V}.downwardAPI")),
        ({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 5}}]}},
         ("Invalid", f"{V}.projected.sources[0].serviceAccountToken.expirationSeconds")),
        ({"image": {}}, ("Required", f"{V}.image.reference")),
    ],
)  # fmt: skip
def test_a_wrong_source_is_named(source, cause):
    assert cause in checked(pod(volumes=[{"name": "v"} | source], serviceAccountName="a"))[1]


def test_names_are_unique():
    assert checked(pod(volumes=[{"name": "v"}, {"name": "v"}]))[1] == [("Duplicate", "spec.volumes[1].name")]
