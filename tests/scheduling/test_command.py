"""The command line and the extender: what they accept and what they answer."""

from __future__ import annotations

import gc

import pytest
from aiohttp import ClientSession

from k8sext.scheduling.__main__ import arguments, main
from k8sext.scheduling.extender import extender, in_background
from k8sext.scheduling.profiles import FILTER_NAMES, KUBE


def test_the_default_is_all_filters_and_a_random_choice() -> None:
    profile = arguments([]).profile
    assert tuple(f.name for f in (*profile.filters, *profile.pre_filters)) == FILTER_NAMES
    assert not profile.scores
    assert not profile.pre_scores


def test_all_scores_are_those_of_kube_scheduler() -> None:
    profile = arguments(["--scores", "all"]).profile
    weights = {score.name: score.weight for score in (*KUBE.scores, *KUBE.pre_scores)}
    assert {score.name: score.weight for score in (*profile.scores, *profile.pre_scores)} == weights


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--filters", "magic"], "there is no filter 'magic'"),
        (["--scores", "NodeResourcesFit=much"], "is no score: write NAME=WEIGHT"),
        (
            ["--scoring-strategy", "Guess"],
            "there is no scoring strategy 'Guess': choose of LeastAllocated, MostAllocated",
        ),
        (["--bindings", "0"], "--bindings must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        arguments(words)
    assert exit.value.code == 2
    assert sentence in capsys.readouterr().err


def test_without_a_cluster_it_ends_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kubeconfig", "/nowhere"]) == 1
    assert capsys.readouterr().err == "packt-scheduler: there is no kubeconfig at /nowhere\n"


async def test_an_extender_strikes_out_nodes_and_gives_points() -> None:
    async with (
        extender(filter=lambda pod, names: {"b": "not b"}, prioritize=lambda pod, names: {"a": 99, "c": 3}) as url,
        ClientSession() as session,
    ):
        question = {"Pod": {"metadata": {"name": "p"}}, "NodeNames": ["a", "b", "c"]}
        async with session.post(f"{url}/filter", json=question) as answer:
            assert await answer.json() == {"nodenames": ["a", "c"], "failedNodes": {"b": "not b"}}
        async with session.post(f"{url}/prioritize", json=question) as answer:
            assert await answer.json() == [
                {"host": "a", "score": 10},
                {"host": "b", "score": 0},
                {"host": "c", "score": 3},
            ]


async def test_who_asks_an_extender_with_whole_nodes_gets_whole_nodes() -> None:
    """As kube-scheduler does with nodeCacheCapable: false; it reads `nodes` then, and finds none in a list of names
    (pkg/scheduler/extender.go, Filter)."""
    nodes = [{"metadata": {"name": name, "labels": {"zone": name}}} for name in "abc"]
    async with (
        extender(filter=lambda pod, names: dict.fromkeys(set(names) - {"b"}, "only b")) as url,
        ClientSession() as session,
    ):
        for given in (nodes, []):
            question = {"pod": {"metadata": {"name": "p"}}, "nodes": {"items": given}}
            async with session.post(f"{url}/filter", json=question) as answer:
                found = await answer.json()
            assert found["nodes"]["items"] == [node for node in given if node["metadata"]["name"] == "b"]
            assert "nodenames" not in found


async def test_an_extender_in_the_background_answers_when_nobody_holds_it_any_more() -> None:
    url = in_background(filter=lambda pod, names: {"b": "not b"})
    gc.collect()  # once threw its task away
    question = {"Pod": {"metadata": {"name": "p"}}, "NodeNames": ["a", "b"]}
    async with ClientSession() as session, session.post(f"{url}/filter", json=question) as answer:
        assert (await answer.json())["nodenames"] == ["a"]


async def test_an_extender_binds_and_tells_what_went_wrong() -> None:
    bound = []

    async def bind(namespace: str, name: str, node: str) -> None:
        if node == "full":
            raise RuntimeError("the node is full")
        bound.append((namespace, name, node))

    async with extender(bind=bind) as url, ClientSession() as session:
        question = {"PodName": "p", "PodNamespace": "default", "PodUID": "1", "Node": "n"}
        async with session.post(f"{url}/bind", json=question) as answer:
            assert await answer.json() == {}
        async with session.post(f"{url}/bind", json=question | {"Node": "full"}) as answer:
            assert await answer.json() == {"error": "the node is full"}
    assert bound == [("default", "p", "n")]


@pytest.mark.parametrize("body", ["no JSON", "[]", '{"Pod": {}}'])
async def test_an_extender_refuses_what_is_no_question(body: str) -> None:
    async with extender() as url, ClientSession() as session, session.post(f"{url}/filter", data=body) as answer:
        assert answer.status == 400
