"""The handlers of one node, by the name that a RuntimeClass gives."""

from __future__ import annotations

from collections.abc import Iterator

from k8sext.infra.cri.handlers import Handler
from k8sext.infra.cri.store import Sandbox
from k8sext.infra.grpc import invalid_argument


class Handlers:
    """All that can be chosen on a node."""

    def __init__(self, *handlers: Handler, default: str) -> None:
        """`default` is the handler of pods that name none."""
        self._by_name = {handler.name: handler for handler in handlers}
        self._default = default

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._by_name.values())

    @property
    def names(self) -> list[str]:
        """What may stand in a request: "" is the default."""
        return ["", *self._by_name]

    def find(self, name: str) -> Handler:
        """Return the handler of this name; raise StatusError when there is none."""
        if handler := self._by_name.get(name or self._default):
            return handler
        known = ", ".join(f"{known!r}" for known in sorted(self._by_name))
        raise invalid_argument(f"this runtime has no handler {name!r}: use a RuntimeClass of {known}, or none")

    def of(self, sandbox: Sandbox) -> Handler:
        """Return the handler that made a sandbox."""
        return self._by_name[sandbox.handler]
