"""Completion: kubectl asks the executable kubectl_complete-NAME what may come next (kubernetes#105867).

It is given the words typed so far, the last of them perhaps half or empty, and prints one proposal a line, then a
directive; `:4` says that file names are no answer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from k8sext.clients.kubectl import Kubectl, UserError
from k8sext.clients.plugins import ctx_auto, exec_as, plugin, uptime

NO_FILES = ":4"


def answer(
    words: list[str], made: argparse.ArgumentParser, complete: Callable[[list[str], Kubectl], list[str]]
) -> list[str]:
    """Return the proposals for the last word, in alphabetical order; none when the cluster does not answer."""
    *before, last = words or [""]
    if last.startswith("-"):
        known = [flag for action in made._actions for flag in action.option_strings if flag.startswith("--")]
    else:
        try:
            given, rest = plugin.parser("", "").parse_known_args(before)
            known = complete([*rest, last], plugin.kubectl_of(given))
        except UserError:
            known = []
    return sorted(word for word in known if word.startswith(last))


def _console(module: object) -> None:
    made: Callable[[], plugin.Parser] = module.parser  # pyright: ignore[reportAttributeAccessIssue]
    print(*answer(sys.argv[1:], made(), module.complete), NO_FILES, sep="\n")  # pyright: ignore[reportAttributeAccessIssue]


def console_ctx_auto() -> None:
    """The console script kubectl_complete-ctx_auto."""
    _console(ctx_auto)


def console_uptime() -> None:
    """The console script kubectl_complete-uptime."""
    _console(uptime)


def console_exec_as() -> None:
    """The console script kubectl_complete-exec_as."""
    _console(exec_as)
