"""`k8sext new operator`: write a project for an operator of one's own, which runs as it is.

The templates stand in the folder `project`. The definition is not a template: it is what the project's own kinds.py says.
"""

from __future__ import annotations

import re
import runpy
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

import yaml

from k8sext.operators.pods import image

DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
GROUP = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
VERSION = re.compile(r"v[1-9]\d*((alpha|beta)[1-9]\d*)?")
KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,61}")
TAKEN = ("Spec", "Status", "Field", "Names", "Any", "BaseModel", "PrinterColumn")


class ScaffoldError(ValueError):
    """The project cannot be written; the message says why and what to do."""


@dataclass(frozen=True)
class Project:
    """What the new operator is called, and what it looks after. Raises ScaffoldError for names Kubernetes would refuse."""

    name: str
    group: str
    version: str
    kind: str

    def __post_init__(self) -> None:
        if not DNS_LABEL.fullmatch(self.name):
            raise ScaffoldError(f"{self.name!r} is no name for an operator: use small letters, digits and dashes.")
        if not GROUP.fullmatch(self.group) or not VERSION.fullmatch(self.version):
            raise ScaffoldError(
                f"{self.group}/{self.version} is no API version: write GROUP/VERSION like example.com/v1 or example.com/v1beta1."
            )
        if not KIND.fullmatch(self.kind) or self.kind in TAKEN:
            raise ScaffoldError(
                f"{self.kind!r} is no kind: use one word that begins with a capital letter, like WeatherReport."
            )

    @property
    def plural(self) -> str:
        """Return the kind in small letters and many, as it stands in URLs."""
        word = self.kind.lower()
        if word.endswith("y") and word[-2:-1] not in tuple("aeiou"):
            return f"{word[:-1]}ies"
        return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def project(name: str, api_version: str, kind: str) -> Project:
    """Read the words of the command line. Raises ScaffoldError."""
    group, _, version = api_version.partition("/")
    return Project(name, group, version, kind)


def write(project: Project, folder: Path) -> list[Path]:
    """Write the project into a folder of its own name below `folder`; returns its files. Raises ScaffoldError if it is there already."""
    home = folder / project.name
    try:
        home.mkdir()
    except FileExistsError as error:
        raise ScaffoldError(f"{home} is there already: choose another name, or remove it.") from error
    except OSError as error:
        raise ScaffoldError(
            f"{home} cannot be made ({error.strerror}): choose another folder with --folder."
        ) from error
    words = {"name": project.name, "group": project.group, "version": project.version, "kind": project.kind}
    words |= {"plural": project.plural, "image": image()}
    for template in resources.files("k8sext.operators").joinpath("project").iterdir():
        text = Template(template.read_text(encoding="utf-8")).substitute(words)
        (home / template.name.removesuffix(".tmpl")).write_text(text, encoding="utf-8")
    crd = runpy.run_path(str(home / "kinds.py"))["crd"]()
    (home / "crd.yaml").write_text(yaml.safe_dump(crd, sort_keys=False), encoding="utf-8")
    return sorted(home.iterdir())
