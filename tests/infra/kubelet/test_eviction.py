"""Pods that use more of the disk than they named as their limit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8sext.files import disk_usage
from k8sext.infra.kubelet.stats.eviction import has_limit, why_evict
from k8sext.kube.objects import Json
from k8sext.kube.pod import limits, requests
from tests.infra.kubelet.building import container, pod, sidecar
from tests.infra.kubelet.conftest import Namespace
from tests.infra.kubelet.stage import Stage

Mi = 1 << 20


def limited(name: str, limit: str, make: Any = container) -> Json:
    return make(name, resources={"limits": {"ephemeral-storage": limit, "memory": "1Gi"}})


def scratch(limit: str, name: str = "scratch") -> Json:
    return {"name": name, "emptyDir": {"sizeLimit": limit}}


def stats(total: int = 0, volumes: dict[str, int] | None = None, containers: dict[str, int] | None = None) -> Json:
    """PodStats; half of what a container uses lies in its logs."""
    return {
        "ephemeral-storage": {"usedBytes": total},
        "volume": [{"name": name, "usedBytes": size} for name, size in (volumes or {}).items()] + [{"name": "claim"}],
        "containers": [
            {"name": name, "rootfs": {"usedBytes": size - size // 2}, "logs": {"usedBytes": size // 2}}
            for name, size in (containers or {}).items()
        ],
    }


VOLUME = 'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". '
POD = "Pod ephemeral local storage usage exceeds the total limit of containers {}. "
CONTAINER = 'Container {} exceeded its local ephemeral storage limit "1Mi". '


@pytest.mark.parametrize(
    ("limited_pod", "used", "message"),
    [
        (pod(volumes=[scratch("1Mi")]), stats(volumes={"scratch": Mi}), ""),
        (pod(volumes=[scratch("1Mi")]), stats(volumes={"scratch": Mi + 1}), VOLUME),
        (pod(volumes=[scratch("2Mi", "a"), scratch("1Mi")]), stats(volumes={"a": 2 * Mi, "scratch": 2 * Mi}), VOLUME),
        (pod(volumes=[scratch("0")]), stats(volumes={"scratch": Mi}), ""),
        (pod(volumes=[scratch("1Mi")]), stats(), ""),
        (pod(limited("a", "1Mi"), limited("b", "1Mi")), stats(2 * Mi + 1), POD.format("2Mi")),
        (pod(limited("a", "1Mi"), container("b")), stats(Mi + 1), POD.format("1Mi")),
        (pod(container("a"), resources={"limits": {"cpu": "1"}}), stats(9 * Mi), ""),
        (pod(limited("a", "1Mi"), limited("b", "3Mi")), stats(2 * Mi, containers={"a": 2 * Mi}), CONTAINER.format("a")),
        (pod(limited("a", "1Mi"), limited("b", "3Mi")), stats(2 * Mi, containers={"a": Mi, "b": Mi}), ""),
        (
            pod(limited("a", "3Mi"), init=(limited("proxy", "1Mi", sidecar),)),
            stats(2 * Mi, containers={"proxy": 2 * Mi}),
            CONTAINER.format("proxy"),
        ),
        (pod(limited("a", "3Mi"), init=(limited("setup", "1Mi"),)), stats(2 * Mi, containers={"setup": 2 * Mi}), ""),
        (pod(limited("a", "0")), stats(0, containers={"a": 0}), ""),
    ],
)
def test_a_pod_is_evicted_for_what_it_exceeds_and_told_so(limited_pod: Json, used: Json, message: str) -> None:
    assert why_evict(limited_pod, used) == message
    assert has_limit(limited_pod) or not message


def test_a_pod_without_a_limit_of_its_disk_is_not_measured() -> None:
    assert not has_limit(
        pod(container("a", resources={"limits": {"cpu": "1"}}), volumes=[{"name": "v", "emptyDir": {}}])
    )
    assert has_limit(pod(volumes=[scratch("1Mi")])) and has_limit(pod(init=(limited("setup", "1Mi"),)))


RESOURCES = st.dictionaries(st.sampled_from(["cpu", "memory", "ephemeral-storage"]), st.sampled_from(["1", "2", "5Ki"]))


@given(st.lists(RESOURCES, min_size=1, max_size=3), st.lists(RESOURCES, max_size=3), RESOURCES)
def test_limits_are_added_up_as_requests_are(main: list[Json], init: list[Json], whole: Json) -> None:
    def spec(kind: str) -> Json:
        containers = [{"name": f"c{at}", "resources": {kind: each}} for at, each in enumerate(main)]
        inits = [{"name": f"i{at}", "resources": {kind: each}} for at, each in enumerate(init)]
        return {"spec": {"containers": containers, "initContainers": inits, "resources": {kind: whole}}}

    assert limits(spec("limits")) == requests(spec("requests"))


def test_overhead_raises_only_limits_that_there_are() -> None:
    assert limits(pod(limited("a", "1Mi"), overhead={"memory": "1Mi", "cpu": "1"})) == {
        "ephemeral-storage": Mi,
        "memory": 1025 * Mi,
    }


def test_the_disk_is_measured_as_du_does(tmp_path: Path) -> None:
    (tmp_path / "below/deeper").mkdir(parents=True)
    (tmp_path / "below/file").write_bytes(b"x" * 100_000)
    os.link(tmp_path / "below/file", tmp_path / "below/deeper/again")
    (tmp_path / "link").symlink_to("/usr")
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 30)
    size, count = disk_usage(tmp_path)
    folders = sum(path.stat().st_blocks * 512 for path in (tmp_path, tmp_path / "below", tmp_path / "below/deeper"))
    assert count == 6  # three folders, a file with two names, a link, a file with a hole
    assert 100_000 <= size - folders < 200_000
    assert disk_usage(tmp_path / "nowhere") == (0, 0)


async def test_an_evicted_pod_gets_the_least_time_there_is_and_has_failed_when_its_containers_have_ended(
    stage: Stage,
) -> None:
    stage.play(pod(terminationGracePeriodSeconds=600))
    await stage.until(lambda: stage.runtime.running() == ["main"])
    stage.runtime.ignore_sigterm = True
    stage.worker.evict("too much. ")
    stage.worker.evict("too much. ")
    await stage.until(lambda: stage.api.phases[-1] == "Failed")
    assert not stage.runtime.running()
    assert stage.runtime.stopped == [("main", 2)]  # no container gets less, whatever is asked
    assert (stage.api.statuses[-1]["reason"], stage.api.statuses[-1]["message"]) == ("Evicted", "too much. ")
    assert stage.api.events.count(("Evicted", "too much. ")) == 1


async def test_a_pod_that_is_deleted_already_is_not_evicted(stage: Stage) -> None:
    stage.play(pod())
    await stage.until(lambda: stage.runtime.running() == ["main"])
    stage.delete()
    stage.worker.evict("too much. ")
    await stage.until(lambda: stage.api.deleted)
    assert "Evicted" not in [reason for reason, _ in stage.api.events]


@pytest.mark.cluster
def test_containers_that_write_too_much_are_evicted_and_others_stay(namespace: Namespace) -> None:
    """What one wrote to its own folder, and what it said."""
    limit = {"resources": {"limits": {"ephemeral-storage": "1Mi"}}}
    namespace.pod("writes", "head -c 3000000 /dev/zero > file; exec sleep 1000", container=limit)
    namespace.pod("talks", "head -c 2000000 /dev/zero | tr '\\0' '\\n' | fold; exec sleep 1000", container=limit)
    namespace.pod("modest", "head -c 100000 /dev/zero > file; exec sleep 1000", container=limit)
    for name in ("writes", "talks"):
        namespace.until(lambda name=name: namespace.get("pod", name)["status"].get("reason") == "Evicted", within=60)
        assert ("Evicted", POD.format("1Mi")) in namespace.events(name)
        assert "terminated" in namespace.status(name)["state"]
    assert namespace.get("pod", "modest")["status"]["phase"] == "Running"
