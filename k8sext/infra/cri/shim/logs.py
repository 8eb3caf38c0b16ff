"""The log file of a container, in the format that kubelets read (CRI: `RFC3339Nano stream P|F text`)."""

from __future__ import annotations

import os
import time

LONGEST_LINE = 16384


class CriLog:
    """Cuts what a container prints into lines, each with time, stream and whether the line ends here (F, full) or goes
    on (P, partial)."""

    def __init__(self, path: str) -> None:
        """Open (append) the file at `path`; raise OSError when that cannot be."""
        self.path = path
        self._file = self._open()
        self._unfinished = {"stdout": b"", "stderr": b""}

    def write(self, stream: str, data: bytes) -> None:
        """Log `data`; what follows the last newline waits for the rest of its line, at most LONGEST_LINE bytes of
        it."""
        *lines, rest = (self._unfinished[stream] + data).split(b"\n")
        entries = [entry for line in lines for entry in self._entries(stream, line)]
        while len(rest) > LONGEST_LINE:
            entries.append(self._entry(stream, b"P", rest[:LONGEST_LINE]))
            rest = rest[LONGEST_LINE:]
        self._unfinished[stream] = rest
        self._append(entries)

    def close(self) -> None:
        """Log lines that never ended, as partial ones (a reader would add a newline that nobody wrote), and close the
        file."""
        self._append([self._entry(stream, b"P", rest) for stream, rest in self._unfinished.items() if rest])
        os.close(self._file)

    def reopen(self) -> None:
        """Go on in a new file at the same path: the old one was renamed by log rotation."""
        new = self._open()
        os.close(self._file)
        self._file = new

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def _entries(self, stream: str, line: bytes) -> list[bytes]:
        pieces = [line[at : at + LONGEST_LINE] for at in range(0, len(line), LONGEST_LINE)] or [b""]
        return [
            *(self._entry(stream, b"P", piece) for piece in pieces[:-1]),
            self._entry(stream, b"F", pieces[-1]),
        ]

    def _entry(self, stream: str, tag: bytes, text: bytes) -> bytes:
        return b"%s %s %s %s\n" % (timestamp(time.time_ns()).encode(), stream.encode(), tag, text)

    def _append(self, entries: list[bytes]) -> None:
        data = b"".join(entries)
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError:
            pass  # a full disk costs log lines, never the container


def timestamp(nanoseconds: int) -> str:
    """Return a moment as RFC 3339 with nanoseconds, in UTC."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"
