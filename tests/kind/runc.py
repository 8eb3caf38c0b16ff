"""A runc for machines that lack a capability: `runc.py CAPABILITY,... ARGUMENTS...` asks runc for less.

Docker asks for every capability for a privileged container, and the kernel refuses one that is not in the machine's
bounding set. Standard library only, and nothing of the package: the container engine starts it for every container and
every `docker exec`.
"""

from __future__ import annotations

import json
import os
import sys


def without(process: dict, missing: set[str]) -> dict:
    """The process section of an OCI bundle (runtime-spec, config.md) without the missing capabilities."""
    sets = process.get("capabilities") or {}
    kept = {kind: [name for name in names if name not in missing] for kind, names in sets.items()}
    return {**process, "capabilities": kept} if sets else process


def rewrite(path: str, missing: set[str], key: str | None) -> None:
    """Change a bundle's config.json (key `process`), or a file that holds the process section alone."""
    with open(path) as file:  # noqa: PTH123 (pathlib would double the time that a container's start takes here)
        content = json.load(file)
    if key is None:
        content = without(content, missing)
    else:
        content[key] = without(content[key], missing)
    with open(path, "w") as file:  # noqa: PTH123
        json.dump(content, file)


def value_of(option: str, arguments: list[str]) -> str | None:
    """The value of --option VALUE or --option=VALUE."""
    for position, argument in enumerate(arguments):
        if argument == option:
            return arguments[position + 1]
        if argument.startswith(option + "="):
            return argument.partition("=")[2]
    return None


def main(missing: set[str], arguments: list[str]) -> None:
    """Mend what concerns `create`, `run` and `exec`, and become runc."""
    if {"create", "run"} & set(arguments):
        rewrite(os.path.join(value_of("--bundle", arguments) or ".", "config.json"), missing, "process")  # noqa: PTH118
    elif "exec" in arguments and (process := value_of("--process", arguments)):
        rewrite(process, missing, None)
    os.execvp("runc", ["runc", *arguments])


if __name__ == "__main__":
    main(set(sys.argv[1].split(",")), sys.argv[2:])
