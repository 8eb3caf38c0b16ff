"""Commands that want a terminal, which a cell is not: refused at once, they do not wait for input that never comes."""

from __future__ import annotations

import re

INSTEAD = (
    "a cell is no terminal, so this would wait for ever: leave out -t and name a command, as in "
    "`kubectl exec POD -- date`, or type it in a terminal (in JupyterLab: File > New > Terminal)"
)
_COMMANDS = re.compile(r"(?:^|[\s;|&(])kubectl\s(?P<rest>[^|;&\n]*)")
_SUBCOMMANDS = {"exec", "attach", "run", "debug"}
_TTY = re.compile(r"-(?:t|it|ti)|--tty(?:=true)?")


def wants_terminal(script: str) -> bool:
    """Whether a line of a shell script asks kubectl for a terminal: `exec -it`, `run --tty` and the like. What stands
    behind `--` is the command in the container, and a terminal there is its own affair."""
    return any(_wants(found["rest"]) for found in _COMMANDS.finditer(script.replace("\\\n", " ")))


def _wants(arguments: str) -> bool:
    words = arguments.partition(" -- ")[0].split()
    return bool(_SUBCOMMANDS.intersection(words)) and any(_TTY.fullmatch(word) for word in words)
