"""The tables in README.md here: each judge's stands between two marks."""

from __future__ import annotations

from pathlib import Path

README = Path(__file__).with_name("README.md")


def write(judge: str, table: str) -> None:
    """Put a judge's table in place of its last one, and print it."""
    begin, end = f"<!-- {judge} begins -->", f"<!-- {judge} ends -->"
    before, _, rest = README.read_text().partition(begin)
    README.write_text(f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}")
    print(f"{table}\n")
