"""What a hostPath's `type` asks of a path of the node before it is mounted.

Source: checkTypeInternal in pkg/volume/hostpath/host_path.go. A path without a type has to be there as well, since
nothing could be mounted otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

MATCHES: dict[str, tuple[Callable[[Path], bool], str]] = {
    "": (Path.exists, "on this node"),
    "Directory": (Path.is_dir, "a directory"),
    "File": (Path.is_file, "a file"),
    "Socket": (Path.is_socket, "a socket file"),
    "CharDevice": (Path.is_char_device, "a character device"),
    "BlockDevice": (Path.is_block_device, "a block device"),
}


def check(path: Path, kind: str) -> None:
    """Make what a kind asks to be made, and raise OSError for a path that is none of that kind."""
    if kind == "DirectoryOrCreate" and not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o755)
    if kind == "FileOrCreate" and not path.exists():
        path.touch()
        path.chmod(0o644)
    fits, what = MATCHES[kind.removesuffix("OrCreate")]
    if not fits(path):
        raise OSError(f"is not {what}")
