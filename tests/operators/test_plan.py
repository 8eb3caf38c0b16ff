"""The decision about a report: for each picture of the world, what is to be done. No server is needed to ask."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8sext.kube.objects import timestamp
from k8sext.operators.plan import (
    LONGEST_RETRY,
    UNKNOWN_CITY,
    UNREACHABLE,
    Plan,
    back_off,
    collector_pod,
    plan,
    pod_name,
)

NOW = 1_800_000_000.0
DAY = {"date": "2026-06-14", "sky": "clear", "low": 6, "high": 13, "rain": 0}


def report(city: str = "Amsterdam", generation: int = 1, name: str = "ams", **status: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "w", "uid": "u-1", "generation": generation, "resourceVersion": "7"}
    return {"apiVersion": "k8s.packt.com/v1", "kind": "WeatherReport", "metadata": metadata} | {
        "spec": {"city": city, "days": 1},
        "status": status,
    }


def pod(
    of: dict[str, Any], phase: str = "Running", attempt: int = 1, code: int = 0, ago: float = 0, said: str = ""
) -> Any:
    made: Any = collector_pod(of, attempt)
    made["metadata"]["uid"] = f"uid of {made['metadata']['name']}"
    made["status"] = {"phase": phase}
    if phase in ("Succeeded", "Failed"):
        ended = {"exitCode": code, "message": said, "finishedAt": timestamp(NOW - ago)}
        made["status"]["containerStatuses"] = [{"name": "collect", "state": {"terminated": ended}}]
    return made


def told(decision: Plan) -> tuple[str, str]:
    return decision.status["state"], decision.status["conditions"][0]["reason"]


def names(pods: list[dict[str, Any]]) -> list[str]:
    return [found["metadata"]["name"] for found in pods]


def test_a_new_report_gets_a_pod_that_it_owns() -> None:
    decision = plan(report(), [], NOW)
    assert decision.create and told(decision) == ("Collecting", "Collecting")
    metadata = decision.create["metadata"]
    assert (metadata["namespace"], metadata["name"]) == ("w", "ams-1") and decision.status["pod"] == "ams-1"
    assert metadata["ownerReferences"][0] | {"uid": "u-1", "controller": True} == metadata["ownerReferences"][0]


@pytest.mark.parametrize("phase", ["Pending", "Running"])
def test_while_the_pod_works_there_is_nothing_to_do(phase: str) -> None:
    decision = plan(report(), [pod(report(), phase)], NOW)
    assert (decision.create, decision.delete, decision.requeue_after) == (None, [], None)
    assert told(decision) == ("Collecting", "Collecting")


def test_a_pod_that_cannot_start_says_why() -> None:
    stuck = pod(report(), "Pending")
    waiting = {"reason": "ErrImagePull", "message": "no such image"}
    stuck["status"]["containerStatuses"] = [{"name": "collect", "state": {"waiting": waiting}}]
    decision = plan(report(), [stuck], NOW)
    assert told(decision) == ("Pending", "ErrImagePull")
    assert "no such image" in decision.status["conditions"][0]["message"]


def test_a_report_with_its_days_is_ready() -> None:
    done = report(report=[DAY], observedGeneration=1)
    decision = plan(done, [pod(done, "Succeeded")], NOW)
    assert told(decision) == ("Ready", "Collected") and decision.settled
    assert (decision.create, decision.delete, decision.drop_report) == (None, [], False)


def test_a_report_that_is_late_is_waited_for_and_one_that_never_comes_is_collected_again() -> None:
    empty = report(observedGeneration=1)
    decision = plan(empty, [pod(empty, "Succeeded", ago=3)], NOW)
    assert (decision.create, decision.requeue_after) == (None, 7)
    decision = plan(empty, [pod(empty, "Succeeded", ago=11)], NOW)
    assert decision.create and decision.create["metadata"]["name"] == "ams-1-2" and names(decision.delete) == ["ams-1"]


def test_a_changed_spec_replaces_the_pod_and_takes_the_old_report_away() -> None:
    changed = report(generation=2, report=[DAY], observedGeneration=1)
    decision = plan(changed, [pod(report(), "Succeeded")], NOW)
    assert decision.create and decision.create["metadata"]["name"] == "ams-2"
    assert names(decision.delete) == ["ams-1"] and decision.drop_report


def test_a_failed_pod_is_followed_by_the_next_attempt_after_a_while() -> None:
    early = plan(report(), [pod(report(), "Failed", attempt=3, code=1, ago=1, said="oh\nboom")], NOW)
    assert (early.create, early.delete, early.requeue_after) == (None, [], 3)
    assert told(early) == ("Pending", "CollectorFailed") and early.status["conditions"][0]["message"].startswith("boom")
    due = plan(report(), [pod(report(), "Failed", attempt=3, code=1, ago=4)], NOW)
    assert due.create and due.create["metadata"]["name"] == "ams-1-4" and names(due.delete) == ["ams-1-3"]


def test_an_unreachable_provider_has_a_reason_of_its_own() -> None:
    decision = plan(report(), [pod(report(), "Failed", code=UNREACHABLE, said="cannot be reached")], NOW)
    assert told(decision) == ("Pending", "ProviderUnreachable") and decision.requeue_after == 1


def test_an_unknown_city_is_told_with_near_matches_and_without_a_pod() -> None:
    decision = plan(report("Amsterdan"), [], NOW)
    assert told(decision) == ("Failed", "UnknownCity") and decision.create is None and decision.settled
    assert "did you mean Amsterdam" in decision.status["conditions"][0]["message"]


def test_a_city_that_the_provider_does_not_know_is_not_asked_for_again() -> None:
    asked = report("Atlantis")
    asked["spec"]["provider"] = "open-meteo"
    assert plan(asked, [], NOW).create
    decision = plan(asked, [pod(asked, "Failed", code=UNKNOWN_CITY, ago=9999, said="No weather is known")], NOW)
    assert told(decision) == ("Failed", "UnknownCity") and decision.create is None and decision.requeue_after is None


def test_a_pod_on_its_way_out_is_waited_for_because_its_name_is_needed() -> None:
    going = pod(report())
    going["metadata"]["deletionTimestamp"] = timestamp(NOW)
    decision = plan(report(), [going], NOW)
    assert (decision.create, decision.delete) == (None, []) and told(decision) == ("Pending", "PodDeleted")


def test_of_two_attempts_the_older_goes() -> None:
    both = [pod(report(), "Failed", 1, code=1), pod(report(), "Running", 2)]
    decision = plan(report(), both, NOW)
    assert names(decision.delete) == ["ams-1"] and decision.create is None


def test_the_time_of_a_condition_changes_only_with_its_status() -> None:
    first = plan(report(), [], NOW).status
    first["conditions"][0]["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    still = plan(report(**first), [pod(report(), "Failed", code=1)], NOW).status["conditions"][0]
    assert still["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    done = report(**first, report=[DAY])
    ready = plan(done, [pod(done, "Succeeded")], NOW).status["conditions"][0]
    assert ready["lastTransitionTime"] != "2026-01-01T00:00:00Z"


@given(
    st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?", fullmatch=True), st.integers(1, 10**6), st.integers(1, 99)
)
def test_pod_names_are_valid_and_tell_attempts_apart(name: str, generation: int, attempt: int) -> None:
    one, other = (pod_name(report(generation=generation, name=name), number) for number in (attempt, attempt + 1))
    assert len(one) <= 253 and one != other and not one.startswith("-")


def test_long_names_that_differ_late_do_not_meet() -> None:
    assert pod_name(report(name="a" * 252 + "b"), 1) != pod_name(report(name="a" * 252 + "c"), 1)


def test_attempts_come_later_each_time_up_to_a_limit() -> None:
    assert [back_off(attempt) for attempt in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert back_off(1000) == LONGEST_RETRY


PHASES = st.sampled_from(["Pending", "Running", "Succeeded", "Failed"])
PODS = st.lists(
    st.tuples(PHASES, st.integers(1, 3), st.integers(1, 2), st.booleans(), st.sampled_from([0, 1, 3, 4])), max_size=4
)


@given(PODS, st.integers(1, 2), st.booleans(), st.sampled_from([0, 1, 2]))
def test_whatever_there_is_at_most_one_pod_is_made_and_never_one_that_is_there(
    pods: Any, generation: int, has_report: bool, observed: int
) -> None:
    status: Any = {"observedGeneration": observed} | ({"report": [DAY]} if has_report else {})
    asked = report(generation=generation, **status)
    there = {}
    for phase, attempt, made_for, going, code in pods:
        found = pod(report(generation=made_for), phase, attempt, code, ago=100)
        if going:
            found["metadata"]["deletionTimestamp"] = timestamp(NOW)
        there[found["metadata"]["name"]] = found
    decision = plan(asked, list(there.values()), NOW)
    if decision.create:
        assert decision.create["metadata"]["name"] not in there
        running = [
            p for p in there.values() if p["status"]["phase"] in ("Pending", "Running") and p not in decision.delete
        ]
        assert not [p for p in running if p["metadata"]["annotations"]["k8s.packt.com/generation"] == str(generation)]
    else:
        kept = [p for p in there.values() if p not in decision.delete]
        assert kept, "neither a pod nor a plan to make one: this report would be forgotten"
