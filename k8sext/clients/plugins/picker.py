"""Choose one of several names in a terminal: type to search, arrows to move, Enter to take, Esc to leave."""

from __future__ import annotations

import os
import re
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence

from k8sext.clients.kubectl import UserError

UP, DOWN, ENTER, LEAVE, BACKSPACE = "\x1b[A", "\x1b[B", "\r", "\x1b", "\x7f"
ROWS = 10


def pick(names: Sequence[str], current: str) -> str | None:
    """Return the chosen name, None if the user leaves. Draws on standard error. Raises UserError without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UserError("The picker needs a terminal: give the name of a context instead.")
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard)
        keys = _keys(lambda: os.read(keyboard, 1024).decode(errors="replace"))
        return choose(names, current, lambda: next(keys), _draw)
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        sys.stderr.write("\x1b[J")
        sys.stderr.flush()


def choose(
    names: Sequence[str], current: str, key: Callable[[], str], draw: Callable[[str, Sequence[str], int], None]
) -> str | None:
    """Follow the keys until one name is taken (returned) or the user leaves (None); `draw` sees each state."""
    search, place = "", names.index(current) if current in names else 0
    while True:
        found = [name for name in names if search.lower() in name.lower()]
        place = max(0, min(place, len(found) - 1))
        draw(search, [f"* {name}" if name == current else f"  {name}" for name in found], place)
        pressed = key()
        if pressed in (LEAVE, "\x03", "\x04", ""):
            return None
        if pressed in (ENTER, "\n"):
            if found:
                return found[place]
        elif pressed in (UP, DOWN):
            place += -1 if pressed == UP else 1
        elif pressed == BACKSPACE:
            search = search[:-1]
        elif pressed.isprintable():
            search, place = search + pressed, 0


def _keys(read: Callable[[], str]) -> Iterator[str]:
    """Yield one key after the other: what is typed fast or pasted comes in one piece. Nothing at the end of input."""
    while text := read():
        yield from re.findall(r"\x1b\[[0-9;]*[ -/]*[@-~]|.", text, re.DOTALL)
    yield ""


def _draw(search: str, lines: Sequence[str], place: int) -> None:
    first = max(0, place - ROWS + 1)
    shown = list(enumerate(lines))[first : first + ROWS]
    width = os.get_terminal_size(sys.stderr.fileno()).columns - 1  # a line that went on in the next would stay there
    rows = [f"\x1b[7m{line[:width]}\x1b[0m" if number == place else line[:width] for number, line in shown]
    text = "\r\n".join([f"search: {search}"[:width], *rows])
    sys.stderr.write(f"\r\x1b[J{text}\x1b[{len(rows)}A\r" if rows else f"\r\x1b[J{text}\r")
    sys.stderr.flush()
