"""What a judge may look at: the names in the learner's notebook, and the cluster the notebook is connected to."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from k8sext.notebook import FIRST_CELL
from k8sext.notebook.exercises.exercise import NotYet

NAMESPACE = "exercises"
"""Where the objects of exercises live: one namespace for all, made by the learner or by the first check that needs
it."""
PATIENCE = 3.0
"""Seconds in which a change just made may become true in the cluster."""
POLL = 0.1


class Unreachable(NotYet):
    """No API server answers."""


@dataclass(frozen=True)
class Answer:
    """How a command ended and what it printed."""

    code: int
    output: str
    errors: str

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.code == 0


@dataclass(frozen=True)
class Learner:
    """The learner's notebook. Everything here raises NotYet with a sentence when something is missing."""

    names: Mapping[str, Any] = field(default_factory=dict)
    patience: float = PATIENCE

    def named(self, name: str) -> Any:
        """What the notebook calls `name`."""
        if name not in self.names or self.names[name] is ...:
            raise NotYet(f"there is no `{name}` in this notebook: run the cell above after you have filled it in")
        if _is_empty(self.names[name]):
            raise NotYet(f"`{name}` is still empty: write its body in the cell above, and run that cell")
        return self.names[name]

    def call(self, name: str, *arguments: Any) -> Any:
        """What the learner's function answers; an error in it is the reason."""
        function = self.named(name)
        if not callable(function):
            raise NotYet(f"`{name}` is no function but {function!r}")
        try:
            answer = function(*arguments)
        except Exception as error:
            shown = ", ".join(map(repr, arguments))
            raise NotYet(f"{name}({_short(shown)}) raised {type(error).__name__}: {error}") from error
        return answer

    def same(self, name: str, *arguments: Any, answer: Any) -> None:
        """The learner's function must answer this."""
        found = self.call(name, *arguments)
        shown = f"{name}({_short(', '.join(map(repr, arguments)))})"
        if found is None and answer is not None:
            raise NotYet(f"{shown} returns None: write its body, and do not forget `return`")
        if found != answer:
            raise NotYet(f"{shown} returns {found!r} and should return {answer!r}")

    def fits(self, name: str, fitting: Mapping[str, tuple[str, str]], wrong: str) -> None:
        """The learner's dictionary must answer each wish as `fitting` does: wish to answer and its reason. `wrong` says
        that another known answer does not fit, with {} in its place."""
        found = self.named(name)
        expect(isinstance(found, dict), f"`{name}` should be a dictionary, as in the cell")
        known = {fits for fits, _ in fitting.values()}
        for wish, (fits, reason) in fitting.items():
            answer = found.get(wish)
            expect(answer not in (None, ...), f'there is no answer for "{wish}" yet')
            expect(answer in known, f'"{wish}": {answer!r} is none of {", ".join(sorted(known))}')
            expect(answer == fits, f'"{wish}" {wrong.format(answer)}: {reason}')

    def kubectl(self, *arguments: str, input: str | None = None) -> Answer:
        """Run kubectl as the notebook's `!kubectl` does. Raises Unreachable."""
        done = subprocess.run(["kubectl", *arguments], input=input, capture_output=True, text=True)
        if done.returncode and ("was refused" in done.stderr or "Unable to connect" in done.stderr):
            raise Unreachable(f"the cluster does not answer: {FIRST_CELL}, which starts it")
        return Answer(done.returncode, done.stdout, done.stderr.strip())

    def find(self, kind: str, name: str, namespace: str = "") -> Any:
        """An object of the cluster, None where there is none."""
        found = self.kubectl("get", kind, name, "-o", "json", *(["-n", namespace] if namespace else []))
        if found.ok:
            return json.loads(found.output)
        if "(NotFound)" in found.errors or "doesn't have a resource type" in found.errors:
            return None
        raise NotYet(f"the server answers: {found.errors}")

    def wrote_node_name(self, pod: str) -> bool:
        """Whether a node's name stood in the manifest of a pod: who writes a field is noted in its managedFields, and a
        binding leaves no note there."""
        found = self.kubectl("get", "pod", pod, "-n", NAMESPACE, "-o", "json", "--show-managed-fields")
        if not found.ok:
            return False
        notes = json.loads(found.output)["metadata"].get("managedFields", [])
        return any("f:nodeName" in note.get("fieldsV1", {}).get("f:spec", {}) for note in notes)

    def get(self, kind: str, name: str) -> Any:
        """An object of the namespace `exercises`."""
        found = self.find(kind, name, NAMESPACE)
        if found is None and self.find("namespace", NAMESPACE) is None:
            raise NotYet(f"there is no namespace `{NAMESPACE}`: make it with `kubectl create namespace {NAMESPACE}`")
        if found is None:
            stray = self.find(kind, name, "default")
            where = f", but one in `default`: the command wants `-n {NAMESPACE}`" if stray else ""
            raise NotYet(f"there is no {kind} `{name}` in the namespace `{NAMESPACE}`{where}")
        return found

    def need_namespace(self) -> None:
        """Make the namespace `exercises` for a try-out, unless it is there."""
        made = self.kubectl("create", "namespace", NAMESPACE)
        if not made.ok and "AlreadyExists" not in made.errors:
            raise NotYet(f"the server answers: {made.errors}")

    def dry_run(self, manifest: Any, namespace: str = NAMESPACE) -> Answer:
        """Send an object through all stages of the server but the last."""
        return self.kubectl(
            *("create", "--dry-run=server", "-o", "json", "-n", namespace, "-f", "-"), input=json.dumps(manifest)
        )

    def eventually(self, look: Callable[[], Any]) -> Any:
        """What `look` returns as soon as it raises no NotYet any more; its last one when it goes on too long."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return look()
            except Unreachable:
                raise
            except NotYet:
                if time.monotonic() > deadline:
                    raise
            time.sleep(POLL)


def _empty() -> None: ...


def _is_empty(found: Any) -> bool:
    """Whether this is a function, or a decorated one, whose body is nothing but `...`."""
    code = getattr(getattr(found, "function", found), "__code__", None)
    return code is not None and code.co_code == _empty.__code__.co_code


def _short(text: str, length: int = 80) -> str:
    return text if len(text) <= length else f"{text[: length - 4]} ..."


def expect(condition: object, reason: str) -> None:
    """Raise NotYet with this reason unless the condition holds."""
    if not condition:
        raise NotYet(reason)
