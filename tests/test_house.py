"""The house keeps its sizes and its walls: what import-linter cannot say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "k8sext"
LONGEST, SHORTEST = 300, 25
SHORT_BY_NATURE = ("__init__.py", "__main__.py", "versions.py")
WRITES_PATHS = HOUSE / "kube" / "resource.py"
API_PATH = re.compile(r"^/?apis?(/|$)")
ROOMS = ["admission", "clients", "infra", "infra/cni", "infra/kubelet", "kube", "notebook", "resources"]
MORE_TABLES = ["admission/initializers", "cluster", "infra/cri/handlers", "infra/csi", "operators", "scheduling"]


def modules() -> list[Path]:
    """Everything that is written by hand."""
    return sorted(path for path in HOUSE.rglob("*.py") if "_pb2" not in path.name)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("module", modules(), ids=name)
def test_a_module_can_be_read_at_one_sitting_and_is_worth_opening(module: Path) -> None:
    lines = len(module.read_text().splitlines())
    assert lines <= LONGEST
    if module.name not in SHORT_BY_NATURE and "examples" not in module.parts:
        assert lines >= SHORTEST, "fold it into the module that uses it"


def literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The text constants of a module that are no docstrings, with their lines; of f-strings the beginning."""
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
            yield node.lineno, node.value


def test_a_path_of_the_api_is_written_in_one_place() -> None:
    found = [
        f"{name(module)}:{line}: {text!r}"
        for module in modules()
        if module != WRITES_PATHS
        for line, text in literals(ast.parse(module.read_text()))
        if API_PATH.match(text)
    ]
    assert found == []


def test_a_room_tells_the_words_of_kubernetes_and_where_they_are() -> None:
    for room in (*ROOMS, *MORE_TABLES):
        text = ast.get_docstring(ast.parse((HOUSE / room / "__init__.py").read_text())) or ""
        rows = [line for line in text.splitlines() if line.startswith("| ") or re.match(r"    \S.*\S   *\S", line)]
        assert 4 <= len(rows) <= 13, room


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_says_is_there_is_there(room: str) -> None:
    """Rows are `| term | `module.name`, ... |`, and each must be a module, a folder or a name in one."""
    text = ast.get_docstring(ast.parse((HOUSE / room / "__init__.py").read_text())) or ""
    cells = [line.rpartition(" | ")[2] for line in text.splitlines() if line.startswith("| ")]
    named = [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]
    assert named
    for word in named:
        place = HOUSE / room / word.replace(".", "/").rstrip("/")
        holders = [place.parent.with_suffix(".py"), place.parent / "__init__.py"]
        wanted = rf"^ *(async def|def|class) {place.name}\b|^{place.name}\b.*="
        is_named = any(re.search(wanted, file.read_text(), re.MULTILINE) for file in holders if file.exists())
        assert place.is_dir() or place.with_suffix(".py").exists() or is_named, f"{room}: {word}"
