"""The rules of `kubectl ctx-auto`: which context belongs to which folder, git remote or environment.

    [[rule]]
    context = "shop-production"
    folder = "~/work/shop"               # this folder, or one below; may hold * and ?
    git = "github.com/acme/shop*"        # the address of the remote origin
    environment = "STAGE=prod*"          # a variable and its value; a name alone: it is set

All conditions of a rule must hold, and the first rule that fits wins.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import cast

from k8sext.clients.kubectl import UserError

CONDITIONS = ("folder", "git", "environment")


@dataclass(frozen=True)
class Rule:
    """A context, and the conditions under which it is the right one."""

    context: str
    conditions: Mapping[str, str]

    def __str__(self) -> str:
        return " and ".join(f"{name} {pattern}" for name, pattern in self.conditions.items())


@dataclass(frozen=True)
class Place:
    """Where the user is: what conditions are asked about."""

    folders: tuple[Path, ...]
    """The folder as the shell calls it, and where it really is; none when it was deleted."""
    environment: Mapping[str, str]

    def fits(self, rule: Rule) -> bool:
        """Whether every condition of the rule holds here."""
        return all(getattr(self, f"_{name}")(pattern) for name, pattern in rule.conditions.items())

    def _folder(self, pattern: str) -> bool:
        plain = Path(pattern).expanduser()
        wanted = {str(path).replace("[", "[[]") for path in (plain, plain.resolve())}  # only * and ? are patterns
        above = {str(path) for folder in self.folders for path in (folder, *folder.parents)}
        return any(fnmatchcase(path, form) for path in above for form in wanted)

    def _git(self, pattern: str) -> bool:
        if not self.folders:
            return False
        command = ["git", "-C", str(self.folders[0]), "config", "--get", "remote.origin.url"]
        try:
            remote = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        except FileNotFoundError:
            raise UserError("A rule asks for the git remote, and there is no git on PATH: install it.") from None
        return bool(remote) and fnmatchcase(address(remote), pattern)

    def _environment(self, pattern: str) -> bool:
        name, _, value = pattern.partition("=")
        return name in self.environment and fnmatchcase(self.environment[name], value or "*")


def here(environment: Mapping[str, str]) -> Place:
    """Return where this process is: by the name that the shell gives to its folder ($PWD), too, as git does it."""
    try:
        real = Path.cwd()
    except FileNotFoundError:
        return Place((), environment)
    called = Path(environment.get("PWD", ""))
    same = called.is_absolute() and called.exists() and called.samefile(real)
    return Place((called, real) if same else (real,), environment)


def address(remote: str) -> str:
    """Return HOST/PATH of a git remote, however it is written: git@host:a/b.git, ssh://git@host/a/b,
    https://host/a/b."""
    plain = re.sub(r"^\w+://", "", remote)
    plain = re.sub(r"^[^@/]*@", "", plain)
    return re.sub(r":(?!\d+/)", "/", plain, count=1).removesuffix("/").removesuffix(".git")


def rules_file(environment: Mapping[str, str]) -> Path:
    """Return where the rules stand: $KUBECTL_CTX_AUTO_RULES, else kubectl-ctx-auto.toml in the user's configuration
    folder."""
    if named := environment.get("KUBECTL_CTX_AUTO_RULES"):
        return Path(named)
    return Path(environment.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "kubectl-ctx-auto.toml"


def read(path: Path) -> list[Rule]:
    """Return the rules of a file, none if there is no file. Raises UserError for a file that makes no sense."""
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise UserError(f"The rules in {path} cannot be read: {error}.") from None
    entries: object = content.get("rule", [])
    if not isinstance(entries, list) or set(content) - {"rule"}:
        raise UserError(
            f"The rules in {path} make no sense: each begins with a line [[rule]], and nothing else stands there."
        )
    return [_rule(path, number, entry) for number, entry in enumerate(cast("list[object]", entries), start=1)]


def _rule(path: Path, number: int, found: object) -> Rule:
    entry = cast("dict[str, str]", found) if isinstance(found, dict) else {}
    conditions = {name: value for name, value in entry.items() if name != "context"}
    unknown = sorted(set(conditions) - set(CONDITIONS))
    if unknown or "context" not in entry or not conditions or not all(isinstance(v, str) for v in entry.values()):
        raise UserError(
            f"Rule {number} in {path} makes no sense: give it a context and one or more of {', '.join(CONDITIONS)}, as "
            "text."
        )
    return Rule(entry["context"], conditions)
