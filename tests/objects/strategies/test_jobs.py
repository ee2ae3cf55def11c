"""Jobs and CronJobs."""

import pytest

from tests.support.pods import changed, checked

POD = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
META = {"name": "o", "namespace": "t"}


def job(**spec):
    return {"metadata": dict(META), "spec": {"template": POD} | spec}


def cron(schedule="*/5 * * * *", **spec):
    return {"metadata": dict(META), "spec": {"schedule": schedule, "jobTemplate": job()} | spec}


def policy(**rule):
    return {"podFailurePolicy": {"rules": [rule]}}


def test_a_job_selects_its_pods_by_its_uid():
    made, causes = checked(job(), "jobs", "batch")
    assert causes == []
    assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "uid-1"}}
    assert made["spec"]["template"]["metadata"]["labels"]["job-name"] == "o"
    assert (made["spec"]["completions"], made["spec"]["parallelism"], made["spec"]["backoffLimit"]) == (1, 1, 6)


def test_a_job_may_select_its_pods_by_itself():
    pod = POD | {"metadata": {"labels": {"app": "x"}}}
    chosen = {"manualSelector": True, "selector": {"matchLabels": {"app": "x"}}, "template": pod}
    made, causes = checked(job(**chosen), "jobs", "batch")
    assert causes == []
    assert made["metadata"]["labels"] == {"app": "x"}
    assert made["spec"]["selector"] == chosen["selector"]


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ({"template": {"spec": {}}}, ("Required", "spec.template.spec.restartPolicy")),
        ({"manualSelector": True}, ("Required", "spec.selector")),
        ({"selector": {"matchLabels": {"a": "b"}}}, ("Invalid", "spec.selector")),
        ({"completionMode": "Indexed", "parallelism": 1}, ("Required", "spec.completions")),
        ({"completionMode": "Indexed", "completions": 1, "parallelism": 100_001}, ("Invalid", "spec.parallelism")),
        ({"backoffLimitPerIndex": 1}, ("Invalid", "spec.backoffLimitPerIndex")),
        ({"maxFailedIndexes": 1}, ("Required", "spec.backoffLimitPerIndex")),
        ({"managedBy": "nobody"}, ("Invalid", "spec.managedBy")),
        ({"podReplacementPolicy": "x"}, ("NotSupported", "spec.podReplacementPolicy")),
        (policy(action="Count"), ("Invalid", "spec.podFailurePolicy.rules[0]")),
        (policy(action="FailIndex", onPodConditions=[{"type": "X"}]),
         ("Invalid", "spec.podFailurePolicy.rules[0].action")),
        (policy(action="Count", onExitCodes={"operator": "In", "values": [0]}),
         ("Invalid", "spec.podFailurePolicy.rules[0].onExitCodes.values[0]")),
        (policy(action="Count", onExitCodes={"operator": "In", "values": [2, 1]}),
         ("Invalid", "spec.podFailurePolicy.rules[0].onExitCodes.values")),
        (policy(action="Count", onExitCodes={"operator": "In", "values": [1], "containerName": "x"}),
         ("Invalid", "spec.podFailurePolicy.rules[0].onExitCodes.containerName")),
        ({"successPolicy": {"rules": []}}, ("Invalid", "spec.successPolicy")),
        ({"completionMode": "Indexed", "completions": 3, "successPolicy": {"rules": [{"succeededIndexes": "1,5"}]}},
         ("Invalid", "spec.successPolicy.rules[0].succeededIndexes")),
        ({"completionMode": "Indexed", "completions": 3, "successPolicy": {"rules": [{"succeededCount": 4}]}},
         ("Invalid", "spec.successPolicy.rules[0].succeededCount")),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(spec, cause):
    assert cause in checked(job(**spec), "jobs", "batch")[1]


def made(**spec):
    return checked(job(**spec), "jobs", "batch")[0]


def replaced(old, **spec):
    return old | {"spec": old["spec"] | spec}


def test_a_job_keeps_its_template_and_its_completions():
    old = made()
    pod = old["spec"]["template"]
    other = pod | {"spec": pod["spec"] | {"nodeSelector": {"a": "b"}}}
    assert changed(replaced(old, template=other), old, "jobs", "batch")[1] == [("Invalid", "spec.template")]
    assert changed(replaced(old, completions=2), old, "jobs", "batch")[1] == [("Invalid", "spec.completions")]


def test_a_suspended_job_may_still_be_placed_elsewhere():
    old = made(suspend=True)
    pod = old["spec"]["template"]
    other = pod | {"spec": pod["spec"] | {"nodeSelector": {"a": "b"}}}
    assert changed(replaced(old, template=other), old, "jobs", "batch")[1] == []
    other = pod | {"spec": pod["spec"] | {"terminationGracePeriodSeconds": 1}}
    assert changed(replaced(old, template=other), old, "jobs", "batch")[1] == [("Invalid", "spec.template")]


def test_an_indexed_job_grows_in_both_numbers():
    old = made(completionMode="Indexed", completions=2, parallelism=2)
    assert changed(replaced(old, completions=3, parallelism=3), old, "jobs", "batch")[1] == []
    assert changed(replaced(old, completions=3), old, "jobs", "batch")[1] == [("Invalid", "spec.completions")]


def test_a_cron_job_keeps_few_finished_jobs():
    spec = checked(cron(), "cronjobs", "batch")[0]["spec"]
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (3, 1)
    assert spec["concurrencyPolicy"] == "Allow"


@pytest.mark.parametrize(
    ("obj", "cause"),
    [
        (cron(""), ("Required", "spec.schedule")),
        (cron("TZ=UTC * * * * *"), ("Invalid", "spec.schedule")),
        (cron(timeZone="Local"), ("Invalid", "spec.timeZone")),
        (cron(timeZone="Berlin!"), ("Invalid", "spec.timeZone")),
        (cron(concurrencyPolicy="x"), ("NotSupported", "spec.concurrencyPolicy")),
        (cron(jobTemplate=job(selector={})), ("Invalid", "spec.jobTemplate.spec.selector")),
        (cron(jobTemplate=job(manualSelector=True)), ("NotSupported", "spec.jobTemplate.spec.manualSelector")),
        (cron() | {"metadata": META | {"name": "x" * 53}}, ("Invalid", "metadata.name")),
    ],
)
def test_a_wrong_field_of_a_cron_job_is_named(obj, cause):
    assert cause in checked(obj, "cronjobs", "batch")[1]
