"""The contexts of a kubeconfig: read and written through `kubectl config`, never as a file."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from k8sext.clients.kubectl import Kubectl, UserError


@dataclass(frozen=True)
class Contexts:
    """What there is, in the order of the names, and which one is current (empty: none)."""

    names: tuple[str, ...]
    current: str


def read(kubectl: Kubectl) -> Contexts:
    """Ask kubectl, which merges all files of KUBECONFIG."""
    config = kubectl.json("config", "view")
    names = sorted(context["name"] for context in config.get("contexts") or ())
    return Contexts(tuple(names), config.get("current-context", ""))


def switch(kubectl: Kubectl, contexts: Contexts, name: str, previous: Path) -> bool:
    """Make a context the current one and note which one it was before. Returns whether anything changed.

    A note that cannot be written is told on standard error: the switch is what was asked for. Raises UserError when
    there is no such context.
    """
    check(contexts, name)
    if name == contexts.current:
        return False
    kubectl.run("config", "use-context", "--", name)
    if contexts.current:
        try:
            previous.parent.mkdir(parents=True, exist_ok=True)
            previous.write_text(contexts.current, encoding="utf-8")
        except OSError as error:
            print(
                f"Warning: {previous} cannot be written ({error.strerror}): `kubectl ctx-auto -` will not go back.",
                file=sys.stderr,
            )
    return True


def check(contexts: Contexts, name: str) -> None:
    """Raise UserError unless there is a context of that name."""
    if name not in contexts.names:
        there_is = ", ".join(contexts.names) or "none at all"
        raise UserError(f'There is no context "{name}" in your kubeconfig: it has {there_is}.')


def previous_file(environment: Mapping[str, str], kubeconfig: str | None) -> Path:
    """Return the file that holds the previous context of this kubeconfig; each shell of its own has one of its own."""
    state = Path(environment.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    which = kubeconfig or environment.get("KUBECONFIG") or "~/.kube/config"
    return state / "kubectl-ctx-auto" / hashlib.sha256(which.encode()).hexdigest()[:16]


@contextmanager
def overlay(name: str, environment: Mapping[str, str], kubeconfig: str | None) -> Iterator[dict[str, str]]:
    """Yield an environment in which `name` is the current context, while the shared kubeconfig stays as it is.

    A file that says nothing but `current-context` goes in front of the others in KUBECONFIG. The first file that names
    a current context wins, and `kubectl config use-context` writes to that file: so a switch in this shell stays in
    this shell.
    """
    shared = kubeconfig or environment.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    with tempfile.TemporaryDirectory(prefix="kubectl-ctx-auto-") as folder:
        own = Path(folder) / "config"
        own.touch(mode=0o600)
        Kubectl((f"--kubeconfig={own}",)).run("config", "set", "--", "current-context", name)
        yield {**environment, "KUBECONFIG": os.pathsep.join([str(own), shared]), "KUBECTL_CTX_AUTO_SHELL": name}
