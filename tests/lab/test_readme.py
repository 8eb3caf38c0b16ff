"""What the README gives to copy works as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from k8sext.versions import KUBERNETES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("programs")]


def blocks(language: str) -> list[str]:
    """The README's code of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return os.environ | {"PATH": PATH, "K8SEXT_STATE": str(tmp_path / "state"), "PYTEST_ADDOPTS": "-p no:cacheprovider"}


def notebook(folder: Path, name: str, *cells: tuple[str, str]) -> None:
    """A notebook as a teacher may have written it: source and output of each cell."""
    made = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    for count, (source, output) in enumerate(cells, 1):
        printed = [nbformat.v4.new_output("stream", text=output)] if output else []
        made.cells.append(nbformat.v4.new_code_cell(source, execution_count=count, outputs=printed))
    nbformat.write(made, folder / name)


@pytest.mark.slow
def test_the_fixtures_of_the_plugin(tmp_path: Path, environment: dict[str, str]) -> None:
    example = next(block for block in blocks("python") if "k8s_namespace" in block)
    (tmp_path / "test_example.py").write_text(
        example + "\n\ndef test_next(k8s_cluster):\n    assert 'default' in k8s_cluster.kubectl('get', 'namespaces')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "2 passed" in done.stdout, done.stdout
    assert not list((tmp_path / "state").glob("clusters/*"))


@pytest.mark.slow
def test_the_job_for_ones_own_notebooks(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "my-notebooks"
    folder.mkdir()
    first = ("%load_ext k8sext", f"Connected: kubectl {KUBERNETES}, API server {KUBERNETES}.\n")
    namespaces = [f"namespace/{name}" for name in ("default", "kube-node-lease", "kube-public", "kube-system")]
    notebook(folder, "one.ipynb", first, ("!kubectl get namespaces -o name", "\n".join([*namespaces, ""])))
    notebook(folder, "two.ipynb", first, ("!kubectl label namespace default a=b", "namespace/default labeled\n"))
    job = next(yaml.safe_load(block) for block in blocks("yaml") if "my-notebooks" in block)
    install, up, validate, down = [step["run"] for step in job["jobs"]["notebooks"]["steps"] if "run" in step]
    assert install.startswith("pip install k8sext")  # test_wheel.py does

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-ec", command], cwd=tmp_path, env=environment, capture_output=True, text=True)

    try:
        assert run(up).returncode == 0
        good = run(validate)
        assert good.returncode == 0 and "4 passed" in good.stdout, good.stdout
        bad = run(validate)  # the label is there already, and kubectl says so
        assert bad.returncode == 1 and "1 failed, 3 passed" in bad.stdout, bad.stdout
    finally:
        assert run(down).returncode == 0
    assert not list((tmp_path / "state").glob("clusters/*"))
