"""The table in notebook 09 that compares then and now: every line of it is proved by tests."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "source" / "09-initializers.md"

PROVED_BY = {
    "the order of the list": [
        "test_configurations_are_sorted_by_name_and_each_keeps_its_own_order",
        "test_all_configurations_are_sorted_by_name_and_stamped_in_order",
    ],
    "only the first of the list acts": [
        "test_order_is_a_convention_the_server_lets_the_last_one_leave_first",
        "test_each_acts_in_its_turn_and_the_last_releases",
    ],
    "which rules match": ["test_every_rule_must_match_although_the_documentation_said_any"],
    "nobody sees an object that waits": [
        "test_nobody_sees_what_is_not_initialized_unless_they_ask",
        "test_a_watch_through_the_proxy_says_what_a_direct_one_implies",
    ],
    "nobody acts on an object that waits": [
        "test_a_pod_is_gated_until_it_is_initialized",
        "test_a_deployment_makes_no_pods_until_it_is_initialized",
        "test_an_object_is_held_and_after_release_it_is_as_it_was",
    ],
    "the creator waits for the answer": [
        "test_a_creation_waits_for_its_initializers",
        "test_without_its_initializer_a_creation_hangs_until_its_time_is_over",
    ],
    "a failure removes the object": [
        "test_a_failed_object_is_removed_finalizers_or_not_and_an_event_says_why",
        "test_the_client_learns_why_initialization_failed",
    ],
    "changing an object that waits": ["test_who_may_not_initialize_can_create_but_neither_choose_nor_change"],
    "initialized once, and a result for ever": [
        "test_an_initialized_object_gets_no_initializers_any_more",
        "test_a_result_may_be_set_once_and_never_changes_again",
        "test_the_list_is_guarded",
    ],
    "a way around all of them": [
        "test_an_administrator_goes_around_all_of_them_with_an_empty_list",
        "test_who_may_not_initialize_can_create_but_neither_choose_nor_change",
    ],
    "adding a container to a stored pod": [
        "test_the_containers_of_a_stored_pod_cannot_be_changed_any_more_not_even_by_its_initializer"
    ],
    "no type InitializerConfiguration": ["test_without_the_type_initializers_are_switched_off"],
}


def lines_of_the_table() -> list[str]:
    text = NOTEBOOK.read_text()
    rows = re.findall(r"^\| (?!---)([^|]+) \|", text[text.index("| what | ") :], re.MULTILINE)
    return rows[1:]


def test_every_line_has_a_test_and_every_test_a_line():
    assert lines_of_the_table() == list(PROVED_BY)


def test_the_tests_exist():
    written = {name for file in HERE.glob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}
    assert {name for names in PROVED_BY.values() for name in names} <= written
