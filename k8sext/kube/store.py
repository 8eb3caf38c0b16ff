"""What an informer knows: objects by key, and indexes to find them by something else.

A reader gets the stored object itself, not a copy: it is shared with every other reader, so **never change what comes
out of the store**. Copy the part that is to be changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from k8sext.kube.objects import Json, key_of

IndexFunction = Callable[[Json], Iterable[str]]
"""Says under which words an object is to be found."""


class Store:
    """Objects by key with any number of indexes. Only the informer writes it; everyone may read."""

    def __init__(self, indexes: Mapping[str, IndexFunction] | None = None) -> None:
        self._items: dict[str, Json] = {}
        self._functions = dict(indexes or {})
        self._indexes: dict[str, defaultdict[str, set[str]]] = {name: defaultdict(set) for name in self._functions}

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: str) -> bool:
        return key in self._items

    def get(self, key: str) -> Json | None:
        """Return the object of a key, None if there is none."""
        return self._items.get(key)

    def list(self, namespace: str = "") -> list[Json]:
        """Return all objects, or those of one namespace."""
        items = self._items.values()
        return [item for item in items if not namespace or item["metadata"].get("namespace") == namespace]

    def keys(self) -> list[str]:
        """Return the keys of all objects."""
        return list(self._items)

    def by_index(self, index: str, word: str) -> list[Json]:
        """Return the objects that stand in an index under a word, in the order of their keys. KeyError: no such
        index."""
        return [self._items[key] for key in sorted(self._indexes[index].get(word, ()))]

    def put(self, item: Json) -> Json | None:
        """Store an object and return the one it replaces."""
        key = key_of(item)
        before = self._items.get(key)
        self._items[key] = item
        self._index(key, before, item)
        return before

    def remove(self, key: str) -> Json | None:
        """Forget an object and return it; None if it was not there."""
        before = self._items.pop(key, None)
        self._index(key, before, None)
        return before

    def _index(self, key: str, before: Json | None, after: Json | None) -> None:
        for name, function in self._functions.items():
            index = self._indexes[name]
            for word in function(before) if before else ():
                index[word].discard(key)
                if not index[word]:
                    del index[word]
            for word in function(after) if after else ():
                index[word].add(key)
