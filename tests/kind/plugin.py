"""A pytest plugin: the tests of our kubelet's behaviour, as they are, on the kubelet of kind. What cannot be the same
is listed here."""

from __future__ import annotations

import pytest

DIFFERENT = {
    "test_a_volume_of_a_kind_that_is_not_served_is_refused_in_an_event": "the real kubelet serves every kind of volume",
    "test_what_the_disk_refuses_is_told_in_an_event_and_tried_again_without_hurry": (
        "the real kubelet keeps what the disk said to its log"
    ),
    "test_a_hundred_megabytes_go_both_ways_and_each_direction_ends_by_itself": (
        "containerd drops what a pod says after the client has ended its direction"
    ),
    "test_a_resize_is_put_off_in_words_until_the_container_starts_again": "the real kubelet resizes at once",
}
"""Tests left out, each with the reason."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what differs by nature, and fail for a name that no test has any more."""
    names = {getattr(item, "originalname", item.name) for item in items}
    if stale := DIFFERENT.keys() - names:
        raise pytest.UsageError(f"tests.kind.plugin names tests that there are not: {', '.join(sorted(stale))}")
    left_out = [item for item in items if getattr(item, "originalname", item.name) in DIFFERENT]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
