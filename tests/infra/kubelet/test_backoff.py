"""Back-off: when a container that fails is started again."""

from __future__ import annotations

from k8sext.infra.kubelet.runtime.backoff import Backoff


def crash(backoff: Backoff, times: int) -> list[float]:
    """How long each of many crashes in a row has to wait."""
    waits, now = [], 1000.0
    for _ in range(times):
        now += 1  # it runs for a second
        waits.append(backoff.remaining("key", now, now))
        now += waits[-1]
        backoff.failed("key", now)
    return waits


def test_the_first_crash_is_forgiven_and_each_further_one_waits_twice_as_long() -> None:
    assert crash(Backoff(10, 300), 8) == [0, 10, 20, 40, 80, 160, 300, 300]


def test_ten_good_minutes_forget_everything() -> None:
    backoff = Backoff(10, 300)
    crash(backoff, 5)
    assert backoff.remaining("key", 5000, 5000) == 0
    backoff.failed("key", 5000)
    assert backoff.remaining("key", 5001, 5001) == 10


def test_the_time_already_waited_counts() -> None:
    backoff = Backoff(10, 300)
    backoff.failed("key", 100)
    assert backoff.remaining("key", 110, now=113) == 7
    assert backoff.remaining("key", 110, now=121) == 0


def test_keys_do_not_share_their_fate() -> None:
    backoff = Backoff(10, 300)
    backoff.failed("one", 100)
    assert backoff.remaining("other", 100, now=100) == 0
    backoff.forget("one")
    assert backoff.remaining("one", 100, now=100) == 0
