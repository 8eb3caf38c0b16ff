"""Write the package: a client with a method for each resource, and the files that make it installable."""

from __future__ import annotations

import keyword
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from k8sext.clients.generate.openapi import Document
from k8sext.clients.generate.resources import Resource
from k8sext.clients.generate.schemas import Types
from k8sext.clients.kubectl import UserError

MARK = "# Written by `k8sext generate client`: generate again instead of changing it."
ALL_VERBS = ("get", "list", "create", "update", "patch", "delete", "delete_collection")
VERB_CLASSES = {verb: verb.title().replace("_", "") for verb in ALL_VERBS}


def render(document: Document, resources: Sequence[Resource], types: Types, models: str) -> dict[str, str]:
    """Return all files by their paths."""
    package = module_name(document)
    class_name = "".join(part[:1].upper() + part[1:] for part in package.split("_")) + "Client"
    return {
        "pyproject.toml": _pyproject(document, package),
        f"{package}/__init__.py": _init(document, package, class_name),
        f"{package}/client.py": _client(document, resources, types, class_name),
        f"{package}/models.py": models,
        f"{package}/py.typed": "",
    }


def module_name(document: Document) -> str:
    """Return the package's name: apps/v1 becomes apps_v1."""
    name = re.sub(r"\W", "_", f"{document.group or 'core'}_{document.version}")
    return f"_{name}" if name[0].isdigit() else name


def _pyproject(document: Document, package: str) -> str:
    return f"""{MARK}
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "{package.replace("_", "-").strip("-")}-client"
version = "0.1.0"
description = "A typed client for {document.api_version} of Kubernetes"
requires-python = ">=3.11"
dependencies = ["k8sext", "pydantic>=2.14"]

[tool.hatch.build.targets.wheel]
packages = ["{package}"]
"""


def _init(document: Document, package: str, class_name: str) -> str:
    return f'''"""A typed client for {document.api_version} of Kubernetes: models, client, listers and informers.

    from {package} import {class_name}, connect

    with connect() as connection:
        client = {class_name}(connection)

{MARK.removeprefix("# ")}
"""

from k8sext.clients.runtime import connect as connect

from . import models as models
from .client import {class_name} as {class_name}

__all__ = ["{class_name}", "connect", "models"]
'''


def _client(document: Document, resources: Sequence[Resource], types: Types, class_name: str) -> str:
    names = [types.names[resource.schema] for resource in resources]
    bases = [_bases(resource) for resource in resources]
    used = sorted({"Connection", "Kind", *(base for own in bases for base in own)})
    lines = [
        f'"""The client of {document.api_version}. {MARK.removeprefix("# ")}"""\n',
        f"from k8sext.clients.runtime import {', '.join(used)}\n",
        "from . import models\n",
    ]
    for resource, name, own in zip(resources, names, bases, strict=True):
        lines += _resource(document, resource, name, own, types)
    lines += [f'\nclass {class_name}:\n    """The resources of {document.api_version}."""\n']
    lines += ["    def __init__(self, connection: Connection) -> None:\n        self.connection = connection"]
    for resource in resources:
        lines.append(_method(resource))
    return "\n".join(lines) + "\n"


def _bases(resource: Resource) -> list[str]:
    standard = set(ALL_VERBS) <= resource.verbs
    verbs = ["Standard"] if standard else [VERB_CLASSES[verb] for verb in ALL_VERBS if verb in resource.verbs]
    return verbs + [f"With{sub.title()}" for sub in ("status", "scale") if sub in resource.subresources]


def _resource(document: Document, resource: Resource, name: str, bases: list[str], types: Types) -> list[str]:
    inherits = ", ".join(f"{base}[models.{name}]" for base in bases)
    description = types.definitions[name].get("description") or f"{resource.kind} objects."
    return [
        f'\n{_constant(resource)} = Kind(\n    models.{name}, "{document.group}", "{document.version}", '
        f'"{resource.kind}", '
        f'"{resource.plural}", namespaced={resource.namespaced}\n)\n',
        f"\nclass {_class(resource)}({inherits}):\n    {_docstring(description)}\n",
    ]


def _method(resource: Resource) -> str:
    name = re.sub(r"\W", "_", resource.plural)
    name += "_" if keyword.iskeyword(name) or name == "connection" else ""
    if resource.namespaced:
        return (
            f'\n    def {name}(self, namespace: str = "") -> "{_class(resource)}":\n'
            f'        """{resource.plural} of one namespace, or of all."""\n'
            f"        return {_class(resource)}(self.connection, {_constant(resource)}, namespace)"
        )
    return (
        f'\n    def {name}(self) -> "{_class(resource)}":\n'
        f'        """{resource.plural} of the cluster."""\n'
        f"        return {_class(resource)}(self.connection, {_constant(resource)})"
    )


def _class(resource: Resource) -> str:
    return re.sub(r"\W", "_", resource.kind) + "Client"


def _constant(resource: Resource) -> str:
    return re.sub(r"\W", "_", resource.plural).upper()


def _docstring(text: str) -> str:
    safe = " ".join(text.split()).replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{safe}{" " if safe.endswith(chr(34)) else ""}"""'


def write(files: Mapping[str, str], out: Path) -> None:
    """Write all files into a folder beside `out` and then change places with it, so that nothing is ever half-written.

    Raises UserError when `out` holds anything but an earlier package of ours, or cannot be written.
    """
    if out.exists() and not _is_ours(out):
        raise UserError(f"The folder {out} holds something else: name a new folder, or an empty one.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
            for path, text in files.items():
                target = Path(folder) / "new" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
            if out.exists():
                out.rename(Path(folder) / "old")
            shutil.move(Path(folder) / "new", out)
    except OSError as error:
        raise UserError(f"The folder {out} cannot be written: {error.strerror or error}.") from None


def _is_ours(out: Path) -> bool:
    if not out.is_dir():
        return False
    project = out / "pyproject.toml"
    return not any(out.iterdir()) or (project.is_file() and project.read_text(encoding="utf-8").startswith(MARK))
