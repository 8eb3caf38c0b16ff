"""Probes: thresholds, order, and what is done about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from k8sext.infra.kubelet.pod.probes import Prober
from k8sext.kube.objects import Json
from tests.infra.kubelet.building import container, running
from tests.support.eventually import eventually_async

EVERY = {"periodSeconds": 0.01, "failureThreshold": 3}


class Watched:
    """A container whose health the test decides."""

    def __init__(self) -> None:
        self.healthy: bool | None = True
        self.error: Exception | None = None
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.prober = Prober(
            self.ask, lambda: None, lambda kind, _, output: self.complaints.append(f"{kind}: {output}")
        )

    async def ask(self, _: Json, __: Any, probe: Json) -> tuple[bool | None, str]:
        self.asked.append(probe["name"])
        if self.error:
            raise self.error
        return self.healthy, "ill"

    def watch(self, *kinds: str, known: Json | None = None, **probe: Any) -> None:
        probes = {f"{kind}Probe": EVERY | probe | {"name": kind} for kind in kinds}
        spec = container("main", **probes)
        self.prober.watch(spec, running(spec), known or {})


@pytest.fixture
async def main() -> AsyncIterator[Watched]:
    watched = Watched()
    yield watched
    watched.prober.forget_all_but(set())


async def test_without_probes_a_running_container_is_started_and_ready(main: Watched) -> None:
    main.watch()
    assert main.prober.started("main-0")
    assert main.prober.ready("main-0")


async def test_nothing_is_known_of_a_run_that_is_not_watched(main: Watched) -> None:
    assert not main.prober.ready("other")
    assert main.prober.failure("other") == ""


async def test_readiness_comes_and_goes(main: Watched) -> None:
    main.watch("readiness")
    assert not main.prober.ready("main-0")
    await eventually_async(lambda: main.prober.ready("main-0"))
    main.healthy = False
    await eventually_async(lambda: not main.prober.ready("main-0"))
    assert len(main.complaints) >= 3
    assert main.complaints[0] == "readiness: ill"
    main.healthy = True
    await eventually_async(lambda: main.prober.ready("main-0"))
    assert main.prober.failure("main-0") == ""


async def test_success_may_be_wanted_several_times(main: Watched) -> None:
    main.watch("readiness", successThreshold=4)
    await eventually_async(lambda: main.prober.ready("main-0"))
    assert len(main.asked) >= 4


async def test_liveness_forgives_until_its_threshold(main: Watched) -> None:
    main.watch("liveness", failureThreshold=3)
    await eventually_async(lambda: main.asked)
    main.healthy = False
    await eventually_async(lambda: main.prober.failure("main-0"))
    assert main.prober.failure("main-0") == "liveness"
    assert len(main.complaints) == 3


async def test_an_answer_that_nobody_gave_is_no_failure(main: Watched) -> None:
    main.watch("liveness")
    main.healthy = None
    await eventually_async(lambda: len(main.asked) >= 6)
    assert (main.prober.failure("main-0"), main.complaints) == ("", [])
    main.healthy = False
    await eventually_async(lambda: main.prober.failure("main-0") == "liveness")


async def test_an_error_that_nobody_foresaw_neither_counts_nor_ends_the_asking(main: Watched) -> None:
    main.error = ZeroDivisionError("of a probe")
    main.watch("liveness", "readiness", failureThreshold=1)
    await eventually_async(lambda: main.asked.count("liveness") > 2 and main.asked.count("readiness") > 2)
    assert not main.complaints and not main.prober.failure("main-0")
    main.error = None
    await eventually_async(lambda: main.prober.ready("main-0"))


async def test_a_pod_that_ends_is_asked_for_readiness_alone(main: Watched) -> None:
    main.watch("liveness", "readiness")
    await eventually_async(lambda: main.prober.ready("main-0"))
    main.prober.end()
    main.healthy = False
    await eventually_async(lambda: not main.prober.ready("main-0"))
    assert main.prober.failure("main-0") == ""
    assert {complaint.partition(":")[0] for complaint in main.complaints} == {"readiness"}


async def test_nothing_else_is_asked_before_the_start(main: Watched) -> None:
    main.healthy = False
    main.watch("startup", "readiness", "liveness", failureThreshold=1000)
    await eventually_async(lambda: len(main.asked) > 5)
    assert set(main.asked) == {"startup"}
    assert not main.prober.started("main-0")
    main.healthy = True
    await eventually_async(lambda: main.prober.ready("main-0") and "liveness" in main.asked)
    begun = main.asked.index("readiness")
    assert "startup" not in main.asked[begun:]


async def test_what_never_starts_is_dead(main: Watched) -> None:
    main.healthy = False
    main.watch("startup", "liveness")
    await eventually_async(lambda: main.prober.failure("main-0"))
    assert main.prober.failure("main-0") == "startup"
    assert "liveness" not in main.asked


async def test_a_new_kubelet_trusts_what_the_last_one_found_of_the_same_run(main: Watched) -> None:
    main.watch(
        "startup",
        "readiness",
        known={"containerID": "test://main-0", "started": True, "ready": True},
        initialDelaySeconds=0,
    )
    assert main.prober.ready("main-0")
    other = Watched()
    other.watch("startup", "readiness", known={"containerID": "test://earlier", "started": True, "ready": True})
    assert not other.prober.started("main-0")
    other.prober.forget_all_but(set())


async def test_a_run_that_is_forgotten_is_asked_no_more(main: Watched) -> None:
    main.watch("readiness")
    await eventually_async(lambda: main.asked)
    main.prober.forget_all_but(set())
    await asyncio.sleep(0)
    count = len(main.asked)
    for _ in range(20):
        await asyncio.sleep(0.002)
    assert len(main.asked) == count
