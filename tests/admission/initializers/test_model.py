"""The rules of Kubernetes 1.9, one test each: order, matching, who is exempt, what may change, and what that needs."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from k8sext.admission.initializers.model import (
    CREATE_DENIED,
    NAME,
    PENDING,
    RESULT,
    UNINITIALIZED,
    UPDATE_DENIED,
    Decision,
    Initializers,
    Invalid,
    in_order,
    matches,
    names_for,
    on_create,
    on_update,
    read,
    validate,
    write,
)
from k8sext.kube.objects import Json
from k8sext.kube.resource import DEPLOYMENTS, PODS, Resource
from tests.admission.initializers.objects import FAILURE, configuration, pod, rule

A, B, C = "a.init.example", "b.init.example", "c.init.example"
ON_PODS = [rule(["pods"])]


def test_configurations_are_sorted_by_name_and_each_keeps_its_own_order():
    found = in_order([configuration("late", (A, [])), configuration("early", (C, []), (B, []))])
    assert [initializer["name"] for initializer in found] == [C, B, A]


def test_capital_letters_and_digits_sort_as_bytes():
    names = ["b", "a10", "a-1", "a2"]
    assert [c["metadata"]["name"] for c in sorted(map(configuration, names), key=lambda c: c["metadata"]["name"])] == [
        "a-1",
        "a10",
        "a2",
        "b",
    ]


def test_a_new_object_gets_the_names_whose_rules_match():
    configurations = [configuration("one", (A, ON_PODS), (B, [rule(["secrets"])]), (C, ON_PODS))]
    assert names_for(configurations, PODS) == (A, C)
    assert on_create(pod(), PODS, configurations) == Decision(Initializers((A, C)))


def test_a_name_that_is_configured_twice_stands_in_the_list_twice():
    assert names_for([configuration("x", (A, ON_PODS)), configuration("y", (A, ON_PODS))], PODS) == (A, A)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], False),
        ([rule(["pods"])], True),
        ([rule(["secrets"])], False),
        ([rule(["secrets", "pods"])], True),
        ([rule(["pods"], ["apps"])], False),
        ([rule(["pods"], versions=["v2"])], False),
        ([rule(["*"])], True),
        ([rule(["*/*"])], True),
        ([rule(["*"], ["*"], ["*"])], True),
        ([rule(["pods/status"])], False),
        ([rule(["pods/*"])], False),
    ],
)
def test_rules_match_by_group_version_and_resource(rules: list[Json], expected: bool):
    assert matches(rules, PODS) is expected


def test_every_rule_must_match_although_the_documentation_said_any():
    both = [rule(["pods"]), rule(["deployments"], ["apps"])]
    assert not matches(both, PODS)
    assert not matches(both, DEPLOYMENTS)
    assert matches([rule(["pods", "deployments"], ["", "apps"])] * 2, PODS)


@pytest.mark.parametrize("field", ["apiGroups", "apiVersions", "resources"])
def test_a_star_counts_in_first_place_only(field: str):
    asked = Resource("apps", "v2", "deployments")
    everything = rule(["*"], ["*"], ["*"])
    assert matches([everything | {field: ["*", "else"]}], asked)
    assert not matches([everything | {field: ["else", "*"]}], asked)


def test_a_mirror_pod_is_exempt_and_only_a_pod_can_be_one():
    mirror = {"kubernetes.io/config.mirror": "x"}
    configurations = [configuration("one", (A, [rule(["*"], ["*"])]))]
    assert on_create(pod(annotations=mirror), PODS, configurations) == Decision(None)
    assert on_create(pod(annotations=mirror), DEPLOYMENTS, configurations) == Decision(Initializers((A,)))


def test_without_a_matching_configuration_nothing_happens():
    assert on_create(pod(), PODS, []) == Decision(None)


def test_initializers_that_the_client_has_set_stand_and_need_the_verb_initialize():
    assert on_create(pod(C), PODS, [configuration("one", (A, ON_PODS))]) == Decision(Initializers((C,)), CREATE_DENIED)


def test_an_empty_list_is_the_way_around_all_of_them_and_needs_the_verb_too():
    bypassing = pod(annotations={PENDING: ""})
    assert on_create(bypassing, PODS, [configuration("one", (A, ON_PODS))]) == Decision(None, CREATE_DENIED)


def test_an_update_of_an_initialized_object_needs_nothing():
    assert on_update(pod(), pod()) == Decision(None)


def test_an_update_of_an_uninitialized_object_needs_the_verb_even_if_the_list_stays():
    assert on_update(pod(A), pod(A)) == Decision(Initializers((A,)), UPDATE_DENIED)


def test_taking_away_the_last_name_initializes_and_needs_the_verb():
    assert on_update(pod(annotations={PENDING: ""}), pod(A)) == Decision(None, UPDATE_DENIED)
    assert on_update(pod(), pod(A)) == Decision(None, UPDATE_DENIED)


def test_a_manifest_with_an_empty_list_can_be_applied_again_and_again():
    assert on_update(pod(annotations={PENDING: ""}), pod()) == Decision(None)


def test_an_initialized_object_gets_no_initializers_any_more():
    with pytest.raises(Invalid, match="field is immutable once initialization has completed"):
        on_update(pod(A), pod())
    with pytest.raises(Invalid, match="immutable once"):
        on_update(pod(result=FAILURE), pod())


def test_names_may_be_added_and_reordered_while_there_is_no_result():
    assert on_update(pod(C, B, A), pod(A, B)).initializers == Initializers((C, B, A))


def test_order_is_a_convention_the_server_lets_the_last_one_leave_first():
    assert on_update(pod(A), pod(A, B)).initializers == Initializers((A,))


def test_a_result_may_be_set_once_and_never_changes_again():
    assert on_update(pod(A, result=FAILURE), pod(A)).initializers == Initializers((A,), FAILURE)
    assert on_update(pod(A, result=FAILURE), pod(A, result=FAILURE)).objection == UPDATE_DENIED
    with pytest.raises(Invalid, match="result: field is immutable"):
        on_update(pod(A, result=FAILURE | {"message": "another"}), pod(A, result=FAILURE))
    with pytest.raises(Invalid, match="result: field is immutable"):
        on_update(pod(A), pod(A, result=FAILURE))


def test_a_failed_object_could_still_be_declared_initialized():
    assert on_update(pod(), pod(A, result=FAILURE)) == Decision(None, UPDATE_DENIED)


def test_a_result_is_a_failure():
    with pytest.raises(Invalid, match="status must be 'Failure'"):
        on_update(pod(A, result={"status": "Success"}), pod(A))


@pytest.mark.parametrize("text", ["no JSON", "[1]", '"text"'])
def test_a_result_that_is_no_status_is_refused_in_a_sentence(text: str):
    with pytest.raises(Invalid, match="must hold a Status as JSON"):
        read(pod(annotations={RESULT: text}))


@pytest.mark.parametrize("name", ["a.b", "one", "A.b.c", "a..b.c", "-a.b.c", "a.b.c.", "a b.c.d"])
def test_a_name_has_three_segments_or_more(name: str):
    with pytest.raises(Invalid, match="at least three segments"):
        validate(Initializers((name,)))
    validate(Initializers(("a.b.c", "a-1.b.c.d")))


def test_neither_pending_nor_result_is_not_valid_in_a_stored_object():
    with pytest.raises(Invalid, match="must be non-empty when result is not set"):
        validate(Initializers())


def test_what_is_written_is_read_again_and_nothing_else_is_touched():
    item = pod(annotations={"mine": "1"}, labels={"app": "web"})
    before = json.dumps(item)
    write(item, Initializers((A, B), FAILURE))
    assert read(item) == Initializers((A, B), FAILURE)
    assert item["metadata"]["labels"] == {"app": "web", UNINITIALIZED: "true"}
    write(item, None)
    assert read(item) is None
    assert json.dumps(item) == before


def test_the_type_knows_the_same_names_as_the_model(manifests):
    schema = yaml.safe_load((manifests / "crd.yaml").read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    name = schema["properties"]["initializers"]["items"]["properties"]["name"]
    pattern = re.search(r"'\^(.*)\$'", name["x-kubernetes-validations"][0]["rule"])
    assert pattern is not None
    assert pattern[1].replace("[.]", r"\.") == NAME
