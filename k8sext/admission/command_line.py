"""What the command lines of this room have in common: loading code, and saying in one sentence what fails."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


class UsageError(Exception):
    """What was asked for cannot be done; the message says why."""


def answer(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Call the `command` of the parsed arguments; returns the exit code."""
    from k8sext.kube.connect import ConnectError
    from k8sext.kube.request import ApiError, Unreachable

    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        options.command(options)
    except (UsageError, ValueError, ConnectError, ApiError, Unreachable, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def found_in(target: str, kind: type[T], missing: str) -> list[T]:
    """The objects of a kind in a module or a Python file, each once. Raises UsageError where there are none:
    `missing`."""
    found = [value for value in vars(_load(target)).values() if isinstance(value, kind)]
    if not found:
        raise UsageError(f"{target} has no {missing}")
    return list(dict.fromkeys(found))


def _load(target: str) -> ModuleType:
    try:
        if not target.endswith(".py"):
            return importlib.import_module(target)
        if not Path(target).is_file():
            raise UsageError(f"there is no file {target}")
        spec = importlib.util.spec_from_file_location(Path(target).stem, target)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except (ImportError, SyntaxError) as error:
        raise UsageError(f"{target} cannot be loaded: {error}") from error
