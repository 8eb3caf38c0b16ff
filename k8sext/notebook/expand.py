"""What `!` puts into a command from the notebook: `{name}`, where `name` is a variable of the notebook.

Braces mean something to shells, to jsonpath, to Go templates and to awk as well. So a pair of braces is replaced only
if what it holds is one Python expression, and every name in it is a variable of the notebook. All else stays as it was
typed, and works the same in a terminal. `$name` and `${name}` belong to the shell: they are environment variables,
never Python's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any

NO_VALUES = (ast.Tuple, ast.Set, ast.Dict, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Starred, ast.NamedExpr)
"""What parses and is not meant: `{a,b}` is a list of the shell's, `{{x}}` a template's."""


class ExpansionError(ValueError):
    """An expression in braces is the notebook's, and has no value now."""


def expand(command: str, variables: Mapping[str, Any]) -> str:
    """Return the command with the notebook's expressions replaced by their values. Raises ExpansionError.

    expand("kubectl get {kind} -o jsonpath='{.kind}'", {"kind": "pods"}) is "kubectl get pods -o jsonpath='{.kind}'".
    """
    return "".join(_parts(command, variables))


def _parts(command: str, variables: Mapping[str, Any]) -> Iterator[str]:
    place = 0
    while place < len(command):
        end = _end(command, place) if command[place] == "{" else 0
        doubled = command.startswith("{{", place) and command[end - 2 : end] == "}}"
        if end and (doubled or command[place - 1 : place] == "$"):
            yield command[place:end]
        elif end and (code := _expression(command[place + 1 : end - 1], variables)):
            yield _value(command[place:end], code, variables)
        else:
            end = place + 1
            yield command[place]
        place = end


def _end(command: str, begin: int) -> int:
    """Where the brace at `begin` is closed (the place behind it), 0 if it is not."""
    depth = 0
    for place in range(begin, len(command)):
        depth += {"{": 1, "}": -1}.get(command[place], 0)
        if depth == 0:
            return place + 1
    return 0


def _expression(text: str, variables: Mapping[str, Any]) -> CodeType | None:
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    free = {node.id for node in names} - bound
    if isinstance(tree.body, NO_VALUES) or not free or not free <= set(variables):
        return None
    return compile(tree, "<braces>", "eval")


def _value(braces: str, code: CodeType, variables: Mapping[str, Any]) -> str:
    try:
        return str(eval(code, dict(variables)))
    except Exception as error:
        raise ExpansionError(f"{braces} in this command: {type(error).__name__}: {error}") from error
