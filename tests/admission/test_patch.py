"""The patch between two documents: always right, by another library's judgement, and never slow."""

from __future__ import annotations

import json
import time
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8sext.admission.patch import MOST_STEPS, difference

KEYS = st.sampled_from(["a", "b", "a/b", "~", "~1", ""])
LEAVES = st.none() | st.booleans() | st.sampled_from([0, 1, 1.0, "", "a", "1"])
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)
LONG_LISTS = st.lists(st.integers(0, 3) | st.dictionaries(KEYS, LEAVES, max_size=2), max_size=2 * MOST_STEPS)


@settings(max_examples=500, deadline=None)
@given(DOCUMENTS, DOCUMENTS)
def test_applied_to_the_one_document_it_gives_the_other(before: Any, after: Any) -> None:
    found = jsonpatch.apply_patch(json.loads(json.dumps(before)), difference(before, after))
    assert _text(found) == _text(after)


@settings(max_examples=100, deadline=None)
@given(LONG_LISTS, LONG_LISTS)
def test_so_it_does_for_long_lists(before: list[Any], after: list[Any]) -> None:
    steps = difference({"list": before}, {"list": after})
    assert len(steps) <= MOST_STEPS
    assert _text(jsonpatch.apply_patch({"list": before}, steps)) == _text({"list": after})


@given(DOCUMENTS)
def test_what_is_the_same_needs_no_step(document: Any) -> None:
    assert difference(document, json.loads(json.dumps(document))) == []


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        ([1, 2, 3], [1, 3], [{"op": "remove", "path": "/1"}]),
        ([1, 3], [1, 2, 3], [{"op": "add", "path": "/1", "value": 2}]),
        ([{"image": "a"}, 2], [{"image": "b"}, 2], [{"op": "replace", "path": "/0/image", "value": "b"}]),
        ([1, 2], [1, 2, 3, 4], [{"op": "add", "path": "/2", "value": 3}, {"op": "add", "path": "/3", "value": 4}]),
        ([1, 2, 3], [1], [{"op": "remove", "path": "/2"}, {"op": "remove", "path": "/1"}]),
    ],
)
def test_a_small_change_of_a_list_is_a_small_patch(before: Any, after: Any, steps: Any) -> None:
    assert difference(before, after) == steps


@pytest.mark.parametrize("every", [2, 3, 100])
def test_a_list_of_18000_entries_is_compared_in_the_time_of_one_look(every: int) -> None:
    before = [{"name": f"entry-{number}", "value": str(number)} for number in range(18_000)]
    after = [entry for number, entry in enumerate(before) if number % every]
    began = time.process_time()
    steps = difference({"spec": {"entries": before}}, {"spec": {"entries": after}})
    assert time.process_time() - began < 1
    assert steps == [{"op": "replace", "path": "/spec/entries", "value": after}]


def _text(document: Any) -> str:
    return json.dumps(document, sort_keys=True)
