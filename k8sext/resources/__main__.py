"""Write manifests/resources/{crd,cr}.yaml: `python -m k8sext.resources [FOLDER]`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from k8sext.kube.manifest import to_yaml
from k8sext.resources.weatherreport import Metadata, WeatherReport, WeatherReportSpec, weather_report_crd


def example() -> WeatherReport:
    """Return the report that the notebooks order first."""
    return WeatherReport(metadata=Metadata(name="amsterdam-daily"), spec=WeatherReportSpec(city="Amsterdam", days=1))


def manifests() -> dict[str, str]:
    """Return file name and text of every generated manifest."""
    documents: dict[str, dict[str, Any]] = {"crd.yaml": weather_report_crd(), "cr.yaml": example().to_dict()}
    return {name: to_yaml(document, width=110) for name, document in documents.items()}


def main(arguments: list[str]) -> int:
    """Write the manifests into the folder given, or into manifests/resources below the current one."""
    folder = Path(arguments[0]) if arguments else Path("manifests/resources")
    if not folder.is_dir():
        print(f"There is no folder {folder}: run this where the folder manifests stands, or name one.", file=sys.stderr)
        return 2
    for name, text in manifests().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(f"wrote {folder / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
