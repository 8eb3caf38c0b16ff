"""The learner's own access to a cluster: one context of one kubeconfig, named and never guessed, used through kubectl.

kubectl knows every way to log in that a kubeconfig can name, programs of cloud providers among them.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from k8sext.cluster.errors import ClusterError
from k8sext.cluster.kubectl import contexts, usual_files

OWNER = "k8sext.dev/owner"
"""The label of all that is the workbook's."""
TIMEOUT = "20s"


@dataclass(frozen=True)
class Target:
    """A context; `files` is one kubeconfig, or several as $KUBECONFIG has them; kubectl keeps what it learns in
    `cache`."""

    kubectl: Path
    files: str
    context: str
    cache: Path

    def run(self, *arguments: str, input: Any = None, wait: str = TIMEOUT) -> str:
        """What kubectl prints; input is an object or a list of them. Raises ClusterError."""
        done = self._start(*arguments, input=input, wait=wait)
        if done.returncode != 0:
            words = done.stderr.strip().splitlines() or [f"kubectl {arguments[0]} failed"]
            raise ClusterError(f"The cluster of the context {self.context!r}: {words[-1]}")
        return done.stdout

    def _start(self, *arguments: str, input: Any = None, wait: str = TIMEOUT) -> subprocess.CompletedProcess[str]:
        command = [str(self.kubectl), f"--context={self.context}", f"--request-timeout={wait}", *arguments]
        environment = {**os.environ, "KUBECONFIG": self.files, "KUBECACHEDIR": str(self.cache), "KUBERC": "off"}
        text = None if input is None else json.dumps(_as_list(input))
        return subprocess.run(command, capture_output=True, text=True, env=environment, input=text)

    def json(self, *arguments: str) -> dict[str, Any]:
        """One object, or a list as {"items": [...]}; {} when there is none and --ignore-not-found was said."""
        return json.loads(self.run("get", "--output=json", *arguments) or "{}")

    def owners(self, kinds: Iterable[str], namespace: str | None = None) -> list[tuple[str, str, str]]:
        """Kind, name and owner ("" for none) of every object of these kinds, all cluster-wide or all in one
        namespace."""
        key = OWNER.replace(".", r"\.")
        each = f'{{.kind}}{{"\\t"}}{{.metadata.name}}{{"\\t"}}{{.metadata.labels.{key}}}{{"\\n"}}'
        place = [f"--namespace={namespace}"] if namespace else []
        said = self.run("get", ",".join(kinds), *place, f"--output=jsonpath={{range .items[*]}}{each}{{end}}")
        return [(kind, name, owner) for kind, name, owner in (line.split("\t") for line in said.splitlines())]

    def kinds(self, namespaced: bool) -> list[str]:
        """All kinds that can be listed and deleted, as `deployments.apps`; without those of an API that is out of
        order."""
        known = ("api-resources", "--verbs=list,delete", f"--namespaced={str(namespaced).lower()}", "--output=name")
        done = self._start(*known)
        if not done.stdout:
            raise ClusterError(f"The cluster of the context {self.context!r}: {done.stderr.strip()}")
        return done.stdout.split()

    def entry(self) -> dict[str, Any]:
        """How the kubeconfig says that the cluster is reached: server, certificates and so on, without files."""
        found = json.loads(self.run("config", "view", "--minify", "--flatten", "--raw", "--output=json"))
        return found["clusters"][0]["cluster"]


def _as_list(objects: Any) -> Any:
    return {"apiVersion": "v1", "kind": "List", "items": objects} if isinstance(objects, list) else objects


def choose(kubectl: Path, context: str | None, kubeconfig: Path | None, cache: Path) -> Target:
    """The context to use: the one named, or that of $K8SEXT_CONTEXT; the kubeconfig is kubectl's usual one unless
    named.

    Raises ClusterError, with the contexts that there are, when none is named or there is none of that name.
    """
    files = str(kubeconfig.expanduser().absolute()) if kubeconfig else usual_files()
    wanted = context or os.environ.get("K8SEXT_CONTEXT")
    known = contexts(kubectl, files)
    if not known:
        raise ClusterError(
            f"{files} names no cluster: name the kubeconfig of yours with --kubeconfig FILE, and its context with "
            "--context NAME."
        )
    if not wanted:
        raise ClusterError(
            "The current context is never taken by accident: name the one to use with --context NAME (or "
            "K8SEXT_CONTEXT), one of "
            f"{', '.join(known)}."
        )
    if wanted not in known:
        raise ClusterError(f"{files} has no context {wanted!r}: choose one of {', '.join(known)}.")
    return Target(kubectl, files, wanted, cache)
