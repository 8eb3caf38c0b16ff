"""Selectors: conditions on labels, as pods write them to choose other pods and nodes.

Sources: the page "Labels and Selectors" of the Kubernetes documentation; API reference of LabelSelector and
NodeSelector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from k8sext.kube.objects import Json, part

Labels = Mapping[str, str]
NO_LABELS: Labels = {}


@dataclass(frozen=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Labels) -> bool:
        """Whether the labels meet the condition. A missing label meets NotIn and DoesNotExist only."""
        return OPERATORS[self.operator](labels.get(self.key), self.values)


def _larger(sign: int) -> Callable[[str | None, frozenset[str]], bool]:
    def compare(value: str | None, values: frozenset[str]) -> bool:
        try:
            return sign * int(value or "") > sign * int(next(iter(values)))
        except ValueError:  # a label that is no number is neither larger nor smaller
            return False

    return compare


OPERATORS: dict[str, Callable[[str | None, frozenset[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
    "Gt": _larger(1),
    "Lt": _larger(-1),
}


@dataclass(frozen=True)
class Selector:
    """Conditions that must all hold. `requirements` is None for a selector that is absent: it selects nothing."""

    requirements: tuple[Requirement, ...] | None

    def matches(self, labels: Labels) -> bool:
        """Whether all conditions hold; an empty selector selects everything."""
        if self.requirements is None:
            return False
        # a plain loop: this is asked for every pod on every node
        for requirement in self.requirements:  # noqa: SIM110
            if not requirement.matches(labels):
                return False
        return True


def label_selector(selector: Json | None) -> Selector:
    """Read a LabelSelector (matchLabels and matchExpressions)."""
    if selector is None:
        return Selector(None)
    labels = [Requirement(key, "In", frozenset([value])) for key, value in part(selector, "matchLabels").items()]
    return Selector((*labels, *requirements(selector.get("matchExpressions"))))


def requirements(expressions: list[dict[str, Any]] | None) -> tuple[Requirement, ...]:
    """Read a list of {key, operator, values}."""
    return tuple(Requirement(e["key"], e["operator"], frozenset(e.get("values") or ())) for e in expressions or ())


@dataclass(frozen=True)
class NodeTerm:
    """One term of node affinity: conditions on a node's labels and on its name. Without any it selects nothing."""

    labels: tuple[Requirement, ...]
    fields: tuple[Requirement, ...]
    weight: int = 0

    def matches(self, name: str, labels: Labels) -> bool:
        """Whether a node meets all conditions of the term."""
        if not self.labels and not self.fields:
            return False
        name_field = {"metadata.name": name}
        return all(r.matches(labels) for r in self.labels) and all(r.matches(name_field) for r in self.fields)


def node_term(term: Mapping[str, Any], weight: int = 0) -> NodeTerm:
    """Read a NodeSelectorTerm."""
    return NodeTerm(requirements(term.get("matchExpressions")), requirements(term.get("matchFields")), weight)
