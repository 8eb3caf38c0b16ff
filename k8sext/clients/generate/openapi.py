"""Where an OpenAPI document comes from: the running API server, which describes what it really serves, or a file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from k8sext.clients.kubectl import Kubectl, UserError
from k8sext.kube.objects import Json
from k8sext.kube.resource import group_path, split


@dataclass(frozen=True)
class Document:
    """What one version of one group looks like. The core group's name is empty."""

    group: str
    version: str
    paths: Json
    schemas: Json

    @property
    def root(self) -> str:
        """The path before the names of resources."""
        return group_path(self.group, self.version)

    @property
    def api_version(self) -> str:
        """The group and version as objects name them."""
        return f"{self.group}/{self.version}" if self.group else self.version


def groups(kubectl: Kubectl) -> dict[str, list[str]]:
    """Return the groups that the server serves, each with its versions, the best first."""
    found: dict[str, list[str]] = {}
    for path in json.loads(kubectl.run("get", "--raw", "/openapi/v3"))["paths"]:
        if (named := split(path)) and not named[2]:
            found.setdefault(named[0], []).append(named[1])
    return {group: sorted(versions, key=_rank, reverse=True) for group, versions in sorted(found.items())}


def from_cluster(kubectl: Kubectl, group: str, version: str | None = None) -> Document:
    """Ask the server for a group ("core" or "" for the core group), in its best version unless one is named.

    Raises UserError when the server does not answer or has no such group.
    """
    group, known = _core(group), groups(kubectl)
    if group not in known:
        raise UserError(
            f"The server has no group {group}: choose one of {', '.join(name or 'core' for name in known)}."
        )
    if version and version not in known[group]:
        raise UserError(
            f"The group {group or 'core'} has no version {version}: choose one of {', '.join(known[group])}."
        )
    chosen = version or known[group][0]
    path = f"/openapi/v3{group_path(group, chosen)}"
    return _document(json.loads(kubectl.run("get", "--raw", path)), group, chosen, "The server's document")


def from_file(path: Path, group: str, version: str | None = None) -> Document:
    """Read a document saved with `kubectl get --raw /openapi/v3/...`. Raises UserError when it is none, or of another
    group."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"The file {path} cannot be read as JSON ({error}): save a document of /openapi/v3 there."
        ) from None
    group, paths = _core(group), _part(content, "paths")
    named = [one for path in paths if (one := split(path)) and one[0] == group and one[2]]
    versions = sorted({one[1] for one in named}, key=_rank, reverse=True)
    if not versions or (version and version not in versions):
        raise UserError(
            f"The file {path} does not describe {group or 'core'}{f' {version}' if version else ''}: name the group it "
            "holds."
        )
    return _document(content, group, version or versions[0], f"The file {path}")


def _document(content: Json, group: str, version: str, what: str) -> Document:
    schemas, paths = _part(_part(content, "components"), "schemas"), _part(content, "paths")
    whole = schemas and all(isinstance(one, dict) for one in (*schemas.values(), *paths.values()))
    if not str(content.get("openapi", "")).startswith("3.") or not whole:
        raise UserError(f"{what} is not OpenAPI v3 with schemas: the server must be Kubernetes 1.27 or newer.")
    return Document(group, version, paths, schemas)


def _part(value: object, key: str) -> Json:
    found = cast(Json, value).get(key) if isinstance(value, dict) else None
    return cast(Json, found) if isinstance(found, dict) else {}


def _core(group: str) -> str:
    return "" if group == "core" else group


def _rank(version: str) -> tuple[int, int, int]:
    """Order versions as Kubernetes does: v2 before v1 before v1beta2 before v1alpha1."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if not match:
        return (-1, 0, 0)
    return ({"alpha": 0, "beta": 1, None: 2}[match[2]], int(match[1]), int(match[3] or 0))
