"""The README's table provider x notebook: runs write down their counts, `python -m tests.notebooks.results` writes the
table from them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.notebooks.pages import NOTEBOOKS

README = NOTEBOOKS.parent / "README.md"
FOLDER = NOTEBOOKS.parent / ".cache" / "notebooks"  # test-results is emptied by Playwright in every run of pytest
BEGIN, END = "<!-- results: python -m tests.notebooks.results -->", "<!-- end of results -->"
PROVIDERS = ("embedded", "kind")
Counts = Mapping[str, int]


def write(provider: str, outcomes: Mapping[str, Counts]) -> None:
    """Keep how many cells of each notebook passed, failed and were skipped; of notebooks that were not run, the earlier
    counts stay."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = _file(provider)
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**known, **outcomes}, indent=1, sort_keys=True))


def failed(provider: str) -> set[str]:
    """The notebooks in which a cell failed when they were last run."""
    known = json.loads(_file(provider).read_text()) if _file(provider).exists() else {}
    return {name for name, counts in known.items() if counts.get("failed")}


def _file(provider: str) -> Path:
    return FOLDER / f"notebooks-{provider}.json"


def table(counts: Mapping[str, Mapping[str, Counts]]) -> str:
    """The table in Markdown: a row for each notebook, a column for each provider."""
    notebooks = sorted({name for of_provider in counts.values() for name in of_provider})
    lines = [f"| cells with the committed output | {' | '.join(counts)} |", f"|---|{'---|' * len(counts)}"]
    for name in notebooks:
        lines.append(f"| {name} | {' | '.join(_cell(of_provider.get(name)) for of_provider in counts.values())} |")
    return "\n".join(lines)


def _cell(counts: Counts | None) -> str:
    if counts is None:
        return "not run"
    passed, skipped = counts.get("passed", 0), counts.get("skipped", 0)
    words = f"{passed} of {sum(counts.values())}"
    return f"{words}, {skipped} skipped" if skipped else words


def main() -> int:
    """Put the table between its marks in the README. Returns 1 when a provider has not been run."""
    missing = [provider for provider in PROVIDERS if not _file(provider).exists()]
    if missing:
        print(
            f"No run on {' and '.join(missing)} is known: `make test` and `make test-kind` write one.", file=sys.stderr
        )
        return 1
    text = table({provider: json.loads(_file(provider).read_text()) for provider in PROVIDERS})
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    README.write_text(pattern.sub(f"{BEGIN}\n{text}\n{END}", README.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
