"""Wait longer after each failure: 10 s, 20 s, 40 s, ... at most five minutes; ten minutes of success forget all of
it."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass
class _Entry:
    delay: float
    updated: float
    told: bool = False


class Backoff:
    """How long each key has to wait. As in Kubernetes, the first failure is tried again at once, the second after
    `base` seconds."""

    def __init__(self, base: float, limit: float) -> None:
        self._base, self._limit = base, limit
        self._entries: dict[Hashable, _Entry] = {}

    def remaining(self, key: Hashable, failed_at: float, now: float | None = None) -> float:
        """Seconds still to wait after a failure at `failed_at`; 0 means go."""
        entry = self._entries.get(key)
        if entry is None or failed_at - entry.updated > 2 * self._limit:
            return 0
        return max(0.0, failed_at + entry.delay - (time.time() if now is None else now))

    def delay(self, key: Hashable) -> float:
        """The whole time that this key has to wait now, for messages."""
        return self._entries[key].delay if key in self._entries else 0

    def tell(self, key: Hashable) -> bool:
        """Whether this wait is news: True once for each."""
        entry = self._entries[key]
        news, entry.told = not entry.told, True
        return news

    def failed(self, key: Hashable, failed_at: float) -> None:
        """Say that a failure at `failed_at` is being tried again: the next wait is twice as long."""
        entry = self._entries.get(key)
        if entry is None or failed_at - entry.updated > 2 * self._limit:
            self._entries[key] = _Entry(self._base, failed_at)
        else:
            self._entries[key] = _Entry(min(entry.delay * 2, self._limit), failed_at)

    def forget(self, key: Hashable) -> None:
        self._entries.pop(key, None)
