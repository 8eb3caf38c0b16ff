"""`kubectl ctx-auto`: the context that fits where you are.

Run by hand it chooses by the rules (see `rules`), or what you name. Run by the shell before each prompt, it chooses
without being
asked:  PROMPT_COMMAND='kubectl ctx-auto --quiet'
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from k8sext.clients.kubectl import Kubectl, UserError
from k8sext.clients.plugins import contexts, plugin, rules

EPILOG = """Without a name, the first rule that fits decides; without such a rule, a picker, if this is a terminal.
Rules stand in ~/.config/kubectl-ctx-auto.toml or $KUBECTL_CTX_AUTO_RULES:

  [[rule]]
  context = "shop-production"
  folder = "~/work/shop"              this folder, or one below
  git = "github.com/acme/shop*"       the remote origin
  environment = "STAGE=prod"          a variable and its value
"""


def parser() -> plugin.Parser:
    """Return the plugin's flags."""
    made = plugin.parser(
        "ctx-auto",
        "Switch to the context that fits where you are.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("name", nargs="?", metavar="NAME", help="a context, or - for the previous one")
    made.add_argument("-l", "--list", action="store_true", help="list the contexts; * marks the current one")
    made.add_argument("-p", "--pick", action="store_true", help="choose in the terminal; type to search")
    made.add_argument("-s", "--shell", action="store_true", help="for a new shell alone; the kubeconfig stays as it is")
    made.add_argument("--dry-run", action="store_true", help="say what would be chosen, and change nothing")
    made.add_argument("-q", "--quiet", action="store_true", help="say nothing unless the context changes")
    return made


def main(arguments: list[str]) -> int:
    """Run the plugin; the exit code is 0, or 1 when there is nothing to switch to (that of the shell with --shell)."""
    options = parser().parse_args(arguments)
    kubectl = plugin.kubectl_of(options, "context", "namespace")
    found = contexts.read(kubectl)
    if options.list:
        for name in found.names:
            print(f"{'*' if name == found.current else ' '} {name}")
        return 0
    chosen = _choose(options, found)
    if chosen is None:
        return 0 if options.quiet else 1
    name, why = chosen
    contexts.check(found, name)
    if options.dry_run:
        print(f"Would switch to {name}{why}.")
        return 0
    if options.shell:
        return _shell(name, options.kubeconfig)
    changed = contexts.switch(kubectl, found, name, _previous(options))
    if options.namespace:
        kubectl.run("config", "set-context", f"--namespace={options.namespace}", "--", name)
    if changed or not options.quiet:
        print(f"{'Switched to' if changed else 'Stays at'} {name}{why}.")
    return 0


def _choose(options: argparse.Namespace, found: contexts.Contexts) -> tuple[str, str] | None:
    """Return a name and why it was chosen, None when the user left the picker."""
    named = options.name or options.context
    if named == "-":
        return _read_previous(_previous(options)), ""
    if named:
        return named, ""
    if options.pick:
        return _pick(found)
    place = rules.here(os.environ)
    path = rules.rules_file(os.environ)
    for rule in rules.read(path):
        if place.fits(rule):
            return rule.context, f" ({rule})"
    if options.quiet:
        return None
    if sys.stdin.isatty() and sys.stderr.isatty():
        return _pick(found)
    raise UserError(
        f"No rule in {path} fits this place: name a context, or write a rule (see `kubectl ctx-auto --help`)."
    )


def _pick(found: contexts.Contexts) -> tuple[str, str] | None:
    from k8sext.clients.plugins.picker import pick

    if not found.names:
        raise UserError("Your kubeconfig has no contexts: there is nothing to choose from.")
    name = pick(found.names, found.current)
    return (name, "") if name else None


def _previous(options: argparse.Namespace) -> Path:
    return contexts.previous_file(os.environ, options.kubeconfig)


def _read_previous(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise UserError("There is no previous context yet: switch once by name first.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"The previous context cannot be read from {path} ({error}): name one.") from None


def _shell(name: str, kubeconfig: str | None) -> int:
    shell = os.environ.get("SHELL") or "/bin/sh"
    with contexts.overlay(name, os.environ, kubeconfig) as environment:
        print(f"In this shell the context is {name}; `exit` leaves it.", file=sys.stderr)
        return subprocess.call([shell], env=environment)


def complete(words: list[str], kubectl: Kubectl) -> list[str]:
    """Return what may stand in the place of the last word: the names of contexts."""
    return list(contexts.read(kubectl).names) if len([word for word in words if not word.startswith("-")]) <= 1 else []


def console() -> None:
    """The console script kubectl-ctx_auto."""
    plugin.run(main)
