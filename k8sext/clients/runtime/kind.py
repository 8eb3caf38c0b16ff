"""What the verbs must know of a kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from k8sext.clients.runtime.model import Model
from k8sext.kube.objects import Json
from k8sext.kube.resource import Resource

T = TypeVar("T", bound=Model)


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A kind: its model, its names, and whether its objects live in namespaces."""

    model: type[T]
    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def resource(self) -> Resource:
        """Where its objects stand in the API."""
        return Resource(self.group, self.version, self.plural, self.namespaced)

    def read(self, item: Json) -> T:
        """Return the object as its model; the items of a list leave out apiVersion and kind, which are put in."""
        return self.model.from_dict({"apiVersion": self.resource.api_version, "kind": self.kind} | item)
