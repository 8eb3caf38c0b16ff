"""Where the recipe keeps what it made: beside the programs in the workbook's cache."""

from __future__ import annotations

from pathlib import Path

from k8sext.cluster.paths import cache_folder
from k8sext.cluster.programs import architecture
from k8sext.versions import KUBERNETES


def folder() -> Path:
    """The recipe's folder for this version and machine."""
    path = cache_folder() / "kind" / f"{KUBERNETES}-linux-{architecture()}"
    path.mkdir(parents=True, exist_ok=True)
    return path
