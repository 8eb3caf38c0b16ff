"""The one exception of this room: its text is a sentence for the learner, never a traceback."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ClusterError(Exception):
    """Something the learner can understand and mend; str() says what is wrong and what to do."""


@contextmanager
def writing(folder: Path, what: str, setting: str) -> Iterator[None]:
    """Turn the system's errors about a folder (full, read-only, not ours) into one sentence that names the setting to
    change."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ClusterError(f"The disk that holds {folder} is full: make room there, or {setting}.") from error
        if error.errno in (
            errno.EROFS,
            errno.EACCES,
            errno.EPERM,
            errno.ENOTDIR,
            errno.EEXIST,
            errno.ENAMETOOLONG,
            errno.ENOENT,
        ):
            raise ClusterError(f"{what} {folder} cannot be written ({error.strerror}): {setting}.") from error
        raise


class Unavailable(Exception):
    """A source of programs that cannot be used here, and why; the next source is tried."""
