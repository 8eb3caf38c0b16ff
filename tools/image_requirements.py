"""`make lock` ends with this: write image-requirements.txt, the part of requirements.txt that programs in pods need.
For maintainers.

A block of the lock names a package, its hashes, and in comments (`# via`) who needs it.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.txt"
PINNED = ROOT / "image-requirements.txt"
NEEDED = (
    "aiohttp",
    "anyio",
    "cryptography",
    "filelock",
    "grpcio",
    "kopf",
    "kubernetes",
    "prometheus-client",
    "protobuf",
    "psutil",
    "pydantic",
    "pyyaml",
    "rich",
    "typer",
    "urllib3",
)


def main() -> None:
    """Write the file anew."""
    PINNED.write_text(image_requirements(LOCK.read_text()))


def image_requirements(lock: str) -> str:
    """The blocks of a lock for NEEDED and all that those need in turn."""
    blocks = {
        re.split(r"[=\[; ]", block, maxsplit=1)[0]: block
        for block in re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]
    }
    needed_by = {
        name: set(re.findall(r"^    #(?: via|  ) (\S+)", block, re.MULTILINE)) for name, block in blocks.items()
    }
    chosen = set(NEEDED)
    while more := {name for name, users in needed_by.items() if users & chosen} - chosen:
        chosen |= more
    texts = [re.sub(r"^    # .*\n|^    #\n", "", blocks[name], flags=re.MULTILINE) for name in sorted(chosen)]
    return "# The part of requirements.txt that goes into the workbook's image; written by `make lock`.\n" + "".join(
        texts
    )


if __name__ == "__main__":
    main()
