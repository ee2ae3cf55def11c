import pytest

from sparsam.scheduling.configuration import API_VERSION, KIND, ConfigurationError, read_configuration
from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.profile import DEFAULT_WEIGHTS, Profile
from sparsam.scheduling.snapshot import Snapshot
from tests.support.scheduling import node, pod


def read(**fields):
    return read_configuration({"apiVersion": API_VERSION, "kind": KIND, **fields})


def profile(**fields):
    [found] = read(profiles=[fields]).profiles.values()
    return found


def arguments(plugin, **args):
    return profile(pluginConfig=[{"name": plugin, "args": args}])


def test_an_empty_one_is_upstreams_default():
    assert read().profiles == {"default-scheduler": Profile(weights=dict(DEFAULT_WEIGHTS))}


def test_weights_and_plugins_are_chosen_by_profile():
    found = profile(
        schedulerName="packer",
        plugins={
            "score": {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeResourcesFit", "weight": 5}]},
            "filter": {"disabled": [{"name": "NodePorts"}]},
        },
    )
    assert (found.name, found.weights) == ("packer", {"NodeResourcesFit": 5})
    assert "NodePorts" not in found.filters
    assert "TaintToleration" in found.filters


def test_multi_point_disables_for_filter_and_score_alike():
    found = profile(plugins={"multiPoint": {"disabled": [{"name": "InterPodAffinity"}]}})
    assert "InterPodAffinity" not in found.filters | found.weights.keys()


def test_arguments_reach_the_profile():
    found = arguments(
        "NodeResourcesFit",
        ignoredResources=["example.com/x"],
        scoringStrategy={"type": "MostAllocated", "resources": [{"name": "cpu", "weight": 3}]},
    )
    assert (found.fit.kind, found.fit.resources) == ("MostAllocated", (("cpu", 3),))
    assert found.ignored_resources == {"example.com/x"}
    assert arguments("InterPodAffinity", hardPodAffinityWeight=7).hard_affinity_weight == 7
    spread = {"topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "ScheduleAnyway"}
    found = arguments("PodTopologySpread", defaultingType="List", defaultConstraints=[spread])
    assert (found.default_spread[0].topology_key, found.system_defaults) == ("rack", False)


def chosen(found, *nodes, cpu="1"):
    snapshot = Snapshot()
    for each in nodes:
        snapshot.set_node(each)
    pending = PendingPod("default/p", compile_pod(pod("p", cpu=cpu)))
    return Placer(snapshot, KubeDefault(), found).schedule([pending])


def test_added_affinity_is_required_of_every_pod_and_says_whose_it_is():
    terms = [{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["a"]}]}]
    affinity = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    found = arguments("NodeAffinity", addedAffinity=affinity)
    assert chosen(found, node("x"), node("y", labels={"pool": "a"})).binds[0].node == "y"
    [rejection] = chosen(found, node("x")).rejections
    assert "1 node(s) didn't match scheduler-enforced node affinity" in rejection.message


def test_a_ratio_prefers_where_its_shape_is_highest():
    shape = [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]
    strategy = {"type": "RequestedToCapacityRatio", "requestedToCapacityRatio": {"shape": shape}}
    found = arguments("NodeResourcesFit", scoringStrategy=strategy)
    assert chosen(found, node("small", cpu="2", memory="2Gi"), node("large", cpu="64")).binds[0].node == "small"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"extenders": [{"urlPrefix": "http://x"}]}, "extenders: are not supported"),
        ({"profile": []}, "profile: unknown field"),
        ({"profiles": [{"plugins": {"score": {"enabled": [{"name": "Trimaran"}]}}}]}, "there is no plugin 'Trimaran'"),
        ({"profiles": [{"plugins": {"scoring": {}}}]}, "profiles[0].plugins.scoring: unknown extension point"),
        ({"profiles": [{"pluginConfig": [{"name": "Foo"}]}]}, "profiles[0].pluginConfig[0].name: unknown plugin 'Foo'"),
        ({"profiles": [{}, {}]}, "profiles[1].schedulerName: Duplicate value"),
        (
            {"profiles": [{"plugins": {"score": {"enabled": [{"name": "NodeAffinity", "weight": 101}]}}}]},
            "weight must be between 0 and 100",
        ),
        (
            {
                "profiles": [
                    {"pluginConfig": [{"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "Best"}}}]}
                ]
            },
            "args: scoringStrategy.type: 'Best' is none of",
        ),
        (
            {"profiles": [{"pluginConfig": [{"name": "InterPodAffinity", "args": {"hardPodAffinityWeight": 500}}]}]},
            "hardPodAffinityWeight: must be between 0 and 100",
        ),
        (
            {"profiles": [{"pluginConfig": [{"name": "PodTopologySpread", "args": {"defaultConstraints": [{}]}}]}]},
            "must be empty when defaultingType is System",
        ),
        (
            {"profiles": [{"pluginConfig": [{"name": "DefaultPreemption", "args": {"minCandidateNodesAbsolute": 5}}]}]},
            "can only be 10 and 100",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(fields, words):
    with pytest.raises(ConfigurationError) as caught:
        read(**fields)
    assert any(words in cause for cause in caught.value.causes)


def test_another_version_is_refused():
    with pytest.raises(ConfigurationError, match="apiVersion, kind: must be"):
        read_configuration({"apiVersion": "kubescheduler.config.k8s.io/v1beta3", "kind": KIND})


def test_what_has_no_effect_is_said():
    assert read(percentageOfNodesToScore=50).warnings == ["percentageOfNodesToScore has no effect here"]
