"""Our kubelet and the real one are given the same pods: what they say and do is the same."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.infra.kubelet.differential import compare
from tests.infra.kubelet.differential.random_pods import CALM, Case, make
from tests.infra.kubelet.differential.two_kubelets import SIDES, Seen, TwoKubelets, two_kubelets

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="the real kubelet wants root"),
]
AT_ONCE = 6
PATIENCE = 90.0
"""Seconds after which two kubelets that do not agree have disagreed."""


@pytest.fixture(scope="module")
def both(real_kubelet: Path) -> Iterator[TwoKubelets]:
    with two_kubelets(real_kubelet) as two:
        yield two


def test_both_kubelets_say_and_do_the_same(both: TwoKubelets, request: pytest.FixtureRequest) -> None:
    first = random.SystemRandom().randrange(1_000_000)
    seeds: Sequence[int] = range(first, first + 500) if request.config.getoption("--long") else range(60)
    if chosen := os.environ.get("K8SEXT_SEEDS"):
        seeds = [int(word) for word in chosen.split()]
    print(f"seeds {seeds}")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda seed: run(both, make(seed)), seeds))
    differ = [one for one in found if one.differences]
    for one in differ:
        print(one.report())
    assert len(found) == len(seeds)
    assert not differ, f"{len(differ)} of {len(seeds)} pods: {[one.case.seed for one in differ]}"


@dataclass
class Found:
    """What came of one pod on both sides."""

    case: Case
    differences: list[str] = field(default_factory=list)
    histories: list[str] = field(default_factory=list)

    def report(self) -> str:
        return "\n".join([f"seed {self.case.seed}: {json.dumps(self.case.spec)}", *self.differences, *self.histories])


def run(both: TwoKubelets, case: Case) -> Found:
    """Give the pod to both, wait until they agree, delete it, and compare."""
    found = Found(case)
    names = {side: f"{case.name}-{side}" for side in SIDES}
    for side in SIDES:
        both.create(case, side)
    if case.deleted_after is None:
        found.differences += agree(both, case, names)
        found.differences += compare.events(case.spec, *(both.events(names[side]) for side in SIDES))
    else:
        time.sleep(case.deleted_after)
    for side in SIDES:
        both.delete(case, side)
    last, met = end(both, names)
    traces = {side: compare.lines(both.trace(names[side])) for side in SIDES}
    found.histories = [f"{side}: {line}" for side in SIDES for line in compare.history(both.seen[names[side]].versions)]
    real, ours = (compare.sequences(traces[side]) for side in SIDES)
    if case.deleted_after is not None:  # how far each had come by then is luck; that both go is not
        found.differences += [line for line in last if line.startswith("deleted, ")]
        if real == ours:  # and when, if the same had to be ended
            found.differences += [line for line in last if line.startswith("deletion")]
        return found
    found.differences += last + compare.order(traces["real"], traces["ours"]) + compare.paths(real, ours, "lines")
    for name in {*real, *ours}:
        if name.removesuffix(" post") in met or (
            real.get(name) != ours.get(name)
            and any(unheard(both.seen[names[side]], traces[side], name) for side in SIDES)
        ):
            found.differences = [line for line in found.differences if f".{name}" not in line]
    return found


def unheard(seen: Seen, trace: list[tuple[float, str]], name: str) -> bool:
    """Whether a run of a container was ended before its script had begun to speak and to listen."""
    one = compare.status(seen.versions[-1][1]).get(name)
    return one is not None and [line for _, line in trace].count(f"{name} start") <= one["restartCount"]


def agree(both: TwoKubelets, case: Case, names: dict[str, str]) -> list[str]:
    """Wait until both have settled in the same status. Returns where they differ if they never do."""
    begun = time.monotonic()
    while True:
        time.sleep(0.2)
        seen = [both.seen[names[side]] for side in SIDES]
        if not all(one.versions for one in seen):
            continue
        now = time.monotonic()
        real, ours = (compare.status(one.versions[-1][1]) for one in seen)
        calm = all(
            now - one.versions[-1][0] > CALM and compare.settled(compare.status(one.versions[-1][1])) for one in seen
        )
        if now - begun > case.busy and calm and real == ours:
            return []
        if now - begun > PATIENCE:
            return compare.paths(real, ours, "status")


def end(both: TwoKubelets, names: dict[str, str]) -> tuple[list[str], set[str]]:
    """Wait until both are gone. Returns where the last words differ, and which containers the deletion met while they
    were started again, on one side before it and on the other not: nothing more can be said of them."""
    seen = {side: both.seen[names[side]] for side in SIDES}
    deadline = time.monotonic() + PATIENCE
    while any(one.gone is None for one in seen.values()):
        if time.monotonic() > deadline:
            return [f"deleted, and not gone: {[side for side in SIDES if seen[side].gone is None]}"], set()
        time.sleep(0.1)
    took = {side: (one.gone or 0) - (one.deleted or 0) for side, one in seen.items()}
    real, ours = (compare.status(seen[side].versions[-1][1]) for side in SIDES)
    counts = {
        name: one["restartCount"] for name, one in real.items() if isinstance(one, dict) and "restartCount" in one
    }
    met = {name for name, count in counts.items() if count != ours.get(name, {}).get("restartCount")}
    for name in met:
        del real[name], ours[name]
    differences = compare.paths(real, ours, "last status")
    if took["ours"] > took["real"] + compare.SLOWER and not met:
        differences.append(f"deletion: real {took['real']:.1f} s, ours {took['ours']:.1f} s")
    return differences, met
