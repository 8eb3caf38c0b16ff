"""From the OpenAPI v3 document of a group to a typed Python package.

`openapi` reads the document, `resources` finds out which URLs it has, `schemas` brings the types into a form that a
code generator understands, `models` lets datamodel-code-generator write the classes, and `package` writes the client
and all files.

Models say the shape of objects, not their limits: lengths, patterns and the lists of allowed values are the server's to
check, and they grow. A client that refuses a value it has never heard of breaks when the server is upgraded.
"""

from __future__ import annotations

from pathlib import Path

from k8sext.clients.generate import models, openapi, package, resources, schemas
from k8sext.clients.generate.openapi import Document

__all__ = ["Document", "files", "generate", "openapi"]


def files(document: Document) -> dict[str, str]:
    """Return the generated package: the text of each file under its path. The same document gives the same bytes.

    Raises UserError when the document holds nothing to generate from.
    """
    found = resources.find(document)
    types = schemas.types(document, [resource.schema for resource in found])
    return package.render(document, found, types, models.write(types.definitions))


def generate(document: Document, out: Path) -> list[str]:
    """Write the package into the folder `out`, all of it or nothing; returns the paths. Raises UserError."""
    rendered = files(document)
    package.write(rendered, out)
    return sorted(rendered)
