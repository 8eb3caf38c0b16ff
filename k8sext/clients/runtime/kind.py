"""What the verbs must know of a kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from k8sext.clients.runtime.model import Model
from k8sext.kube.request import Json

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
    def api_version(self) -> str:
        """Group and version as objects name them."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def collection(self, namespace: str = "") -> str:
        """Return the path of the collection; without a namespace that of all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.plural}" if namespace else f"{root}/{self.plural}"

    def read(self, item: Json) -> T:
        """Return the object as its model; the items of a list leave out apiVersion and kind, which are put in."""
        return self.model.from_dict({"apiVersion": self.api_version, "kind": self.kind} | item)
