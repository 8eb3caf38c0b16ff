"""`k8sext new operator`: write a project for an operator of one's own, which runs as it is.

The templates stand in the folder `project`. The definition is no template: it is what the project's own kinds.py says.
"""

from __future__ import annotations

import keyword
import re
import runpy
import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from k8sext.kube.manifest import to_yaml
from k8sext.operators.plan import image

DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
GROUP = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
VERSION = re.compile(r"v[1-9]\d*((alpha|beta)[1-9]\d*)?")
KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,61}")
TAKEN = {
    *("Spec", "Status", "Field", "Names", "Any", "BaseModel", "PrinterColumn"),
    *("GROUP", "VERSION", "NAMES", "COLUMNS"),
}
"""Names of the project's own files."""
PROTECTED = re.compile(r"(.*\.)?(k8s\.io|kubernetes\.io)")
"""Groups of the Kubernetes project (KEP-1111): the API server wants an approval of their definitions."""


class ScaffoldError(ValueError):
    """The project cannot be written; the message says why and what to do."""


@dataclass(frozen=True)
class Project:
    """What the new operator is called, and what it looks after. Raises ScaffoldError for names that are refused."""

    name: str
    group: str
    version: str
    kind: str

    def __post_init__(self) -> None:
        if not DNS_LABEL.fullmatch(self.name):
            raise ScaffoldError(f"{self.name!r} is no name for an operator: use small letters, digits and dashes.")
        if not GROUP.fullmatch(self.group) or not VERSION.fullmatch(self.version):
            raise ScaffoldError(
                f"{self.group}/{self.version} is no API version: write GROUP/VERSION like example.com/v1 or "
                "example.com/v1beta1."
            )
        if PROTECTED.fullmatch(self.group):
            raise ScaffoldError(
                f"{self.group} belongs to the Kubernetes project: take a group below a domain of yours, like "
                "example.com."
            )
        if not KIND.fullmatch(self.kind) or self.kind in TAKEN or keyword.iskeyword(self.kind):
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
    """Write the project into a new folder of its name below `folder`; returns its files. Raises ScaffoldError."""
    home = folder / project.name
    try:
        home.mkdir()
    except FileExistsError as error:
        raise ScaffoldError(f"{home} is there already: choose another name, or remove it.") from error
    except OSError as error:
        raise ScaffoldError(
            f"{home} cannot be made ({error.strerror}): choose another folder with --folder."
        ) from error
    try:
        _fill(project, home)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)  # a second try finds the way free
        raise
    return sorted(home.iterdir())


def _fill(project: Project, home: Path) -> None:
    words = {"name": project.name, "group": project.group, "version": project.version, "kind": project.kind}
    words |= {"plural": project.plural, "image": image()}
    for template in resources.files("k8sext.operators").joinpath("project").iterdir():
        text = Template(template.read_text(encoding="utf-8")).substitute(words)
        (home / template.name.removesuffix(".tmpl")).write_text(text, encoding="utf-8")
    crd = runpy.run_path(str(home / "kinds.py"))["crd"]()
    (home / "crd.yaml").write_text(to_yaml(crd), encoding="utf-8")
