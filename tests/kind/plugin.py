"""A pytest plugin: the tests of our kubelet's behaviour, as they are, on the kubelet of kind. What cannot be the same is listed here."""

from __future__ import annotations

import pytest

DIFFERENT = {
    "test_a_pod_runs_and_its_events_tell_its_story": "a node of kind has an address outside its pods' range",
    "test_a_container_that_crashes_is_started_again_and_then_waits": "the real kubelet says `terminated` during the first back-off",
    "test_volumes_show_config_maps_secrets_and_the_pod_itself": "the image's user is not root, and a file of mode 0400 is root's",
    "test_a_volume_of_a_kind_that_is_not_served_is_refused_in_an_event": "the real kubelet serves hostPath",
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
