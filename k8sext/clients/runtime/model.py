"""The base of generated models."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from k8sext.kube.objects import Json


class Model(BaseModel):
    """An object, or a part of one. Reading and writing it loses nothing: fields we do not know are kept, absent ones
    stay absent."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())

    @classmethod
    def from_dict(cls, value: Json) -> Self:
        """Read plain JSON. Raises pydantic.ValidationError when a field has the wrong type."""
        return cls.model_validate(value)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON: what was read or set, apiVersion and kind of a whole object included."""
        fixed = {name: getattr(self, name) for name in ("apiVersion", "kind") if getattr(self, name, None)}
        return fixed | self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class ScaleSpec(Model):
    """How many are wanted."""

    replicas: int = 0


class ScaleStatus(Model):
    """How many there are, and the labels they carry."""

    replicas: int = 0
    selector: str | None = None


class Scale(Model):
    """A number of equal things, whatever the things are (autoscaling/v1)."""

    spec: ScaleSpec = ScaleSpec()
    status: ScaleStatus = ScaleStatus()
