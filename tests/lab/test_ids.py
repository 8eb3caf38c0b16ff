"""The ids of tests are the same in every process: pytest-xdist runs nothing when two collect different ones."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CHANGING = {
    "getpid",
    "getppid",
    "mkdtemp",
    "monotonic",
    "monotonic_ns",
    "random",
    "now",
    "time",
    "time_ns",
    "urandom",
    "uuid4",
}


def changing(node: ast.AST) -> Iterator[str]:
    """What in an expression is another in each process: clocks, process ids, luck, and the order of a set."""
    match node:
        case ast.Call(func=ast.Name(id="sorted") | ast.Name(id="len")):
            return
        case ast.Lambda():
            return  # runs when the test does
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in CHANGING:
            yield f"{name}()"
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            yield "a set"
        case _:
            pass
    for child in ast.iter_child_nodes(node):
        yield from changing(child)


def parameters(source: str) -> Iterator[ast.Call]:
    """The calls that make several tests of one."""
    for node in ast.walk(ast.parse(source)):
        for decorator in getattr(node, "decorator_list", []):
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith((".parametrize", ".fixture")):
                yield decorator


def found(source: str) -> list[str]:
    values = [call.args[1:2] + [keyword.value for keyword in call.keywords] for call in parameters(source)]
    sets = ["a set" for some in values for value in some if isinstance(value, ast.Set | ast.SetComp)]
    return sets + [what for some in values for value in some for what in changing(value)]


def test_no_parameter_changes_from_process_to_process() -> None:
    of_files = {str(path.relative_to(TESTS)): found(path.read_text()) for path in TESTS.rglob("*.py")}
    assert not {path: what for path, what in of_files.items() if what}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("[f'{os.getpid()}']", ["getpid()"]),
        ("[time.time()]", ["time()"]),
        ("set(names)", ["a set"]),
        ("{1, 2}", ["a set"]),
        ("sorted(set(names))", []),
        ("[lambda: time.time()]", []),
        ("['time()', {1}]", []),
    ],
)
def test_what_changes_is_found(values: str, said: list[str]) -> None:
    assert found(f"@pytest.mark.parametrize('x', {values})\ndef test(x): ...") == said
