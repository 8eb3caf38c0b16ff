"""What `pip install k8sext` gives: a package that carries the notebooks and manifests, and commands that find them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from k8sext.cluster.paths import cache_folder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture
def environment(wheel: Path, tmp_path: Path, pytestconfig: pytest.Config) -> Path:
    """An environment with the wheel in it: with --long its dependencies come from the registry, else they are lent."""
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if pytestconfig.getoption("--long"):
        subprocess.run([*install, str(wheel)], check=True)
        return folder
    subprocess.run([*install, "--no-deps", "--no-index", str(wheel)], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    lent = Path(sysconfig.get_paths()["purelib"])
    for entry in lent.iterdir():  # all but this checkout, which stands there as a .pth file
        if entry.suffix != ".pth" and "k8sext" not in entry.name and not (packages / entry.name).exists():
            (packages / entry.name).symlink_to(entry)
    return folder


@pytest.mark.cluster
@pytest.mark.usefixtures("programs")
def test_the_package_alone_brings_the_notebooks_and_starts_a_cluster(environment: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "K8SEXT", "VIRTUAL"))}

    def run(*command: str) -> str:
        done = subprocess.run(
            [environment / "bin" / command[0], *command[1:]], cwd=tmp_path, env=clean, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = "import k8sext; print(k8sext.__file__)"
    assert str(environment) in run("python", "-c", where)
    copied = run(
        "python", "-c", f"from pathlib import Path; from k8sext import course; print(course.copy_to(Path('{mine}')))"
    )
    expected = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert "files new" in copied and {path.name for path in (mine / "notebooks").iterdir()} == expected
    assert not list(mine.rglob("source"))
    assert "kubernetes v1." in run("k8sext", "version")
    assert "usage" in run("kubectl-uptime", "--help").lower()
    pinned = (
        "from k8sext.cluster.programs import build; print(sorted(p.name for p in (build.HERE / 'gomod').iterdir()))"
    )
    assert "go.sum" in run("python", "-c", pinned)
    cluster = ["--name", "wheel", "--data", str(tmp_path / "data")]
    try:
        assert "is up at" in run("k8sext", "up", *cluster)
        assert "kubelet" in run("k8sext", "status", *cluster)
    finally:
        run("k8sext", "down", *cluster)


@pytest.mark.cluster
@pytest.mark.usefixtures("programs")
def test_outside_a_checkout_lab_copies_the_notebooks_to_the_home_directory(environment: Path, tmp_path: Path) -> None:
    command = [environment / "bin" / "k8sext", "lab", "--no-browser", "--name", "wheel", "--data", tmp_path / "data"]
    own = {name: str(tmp_path / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
    surroundings = os.environ | own | {"HOME": str(tmp_path), "K8SEXT_CACHE": str(cache_folder())}
    lab = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=surroundings)
    assert lab.stdout is not None
    try:
        assert lab.stdout.readline().startswith(f"Your copy of the notebooks is in {tmp_path}/k8sext-workbook: ")
        assert any("JupyterLab starts" in line for line in lab.stdout)
    finally:
        lab.send_signal(signal.SIGINT)
        lab.communicate(timeout=60)
    assert (tmp_path / "k8sext-workbook" / "notebooks" / "00-start-here.ipynb").is_file()
