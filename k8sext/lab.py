"""`k8sext lab`: a cluster, and JupyterLab on the notebooks, until Ctrl-C."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

from k8sext import cluster, course
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.paths import state_folder
from k8sext.cluster.programs.progress import for_terminal
from k8sext.notebook.processes import held_back

SETTINGS = Path(__file__).parent / "jupyter"
"""A folder of Jupyter's configuration, with JupyterLab's settings for the workbook (labconfig/), and beside it the
first layout."""
STARTUP = Path(__file__).parent / "notebook" / "startup.py"
FIRST_LAYOUT = SETTINGS / "workbook.jupyterlab-workspace"


def serve(folder: Path | None, name: str | None, data: str | None, port: int | None, browser: bool | None) -> int:
    """Serve until Ctrl-C, SIGTERM or the terminal's end; returns JupyterLab's exit code. Raises ClusterError."""
    notebooks = _notebooks(folder)
    if importlib.util.find_spec("jupyterlab") is None:
        raise ClusterError(
            "JupyterLab is not installed in this Python environment: install it with `pip install jupyterlab`."
        )
    with cluster.up(name, data, progress=for_terminal()) as found:
        command = [sys.executable, "-m", "jupyterlab", *_options(notebooks, port, browser)]
        environment = {
            **os.environ,
            **_for_terminals(cluster.environment(found)),
            **_for_kernels(),
            "K8SEXT_CLUSTER": found.name,
            "K8SEXT_DATA": str(found.layout.data),
            "JUPYTER_CONFIG_PATH": os.pathsep.join(
                filter(None, [str(SETTINGS), os.environ.get("JUPYTER_CONFIG_PATH")])
            ),
        }
        print(
            "JupyterLab starts; Ctrl-C ends it"
            + (" and the cluster." if found.started_here else "; the cluster stays up."),
            flush=True,
        )
        server = None
        try:
            with held_back():
                server = subprocess.Popen(command, env=environment)
            return server.wait()
        except KeyboardInterrupt:
            return _end(server) if server else 0


def _for_terminals(environment: dict[str, str]) -> dict[str, str]:
    """The same, with `k8sext` on PATH: a terminal in JupyterLab knows it as well as kubectl."""
    programs = str(Path(sys.executable).parent)
    return environment | {"PATH": os.pathsep.join([environment["PATH"], programs])}


def _for_kernels() -> dict[str, str]:
    """A start-up file, after the learner's own: it tells who has not run a notebook's first cell to do so."""
    own = os.environ.get("PYTHONSTARTUP", "")
    if own == str(STARTUP):  # in a terminal of another `k8sext lab`
        own = os.environ.get("K8SEXT_PYTHONSTARTUP", "")
    return {"PYTHONSTARTUP": str(STARTUP), "K8SEXT_PYTHONSTARTUP": own}


def _end(server: subprocess.Popen[bytes]) -> int:
    """Let JupyterLab stop its kernels; a second signal must leave neither it nor the cluster half stopped."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    server.terminate()
    try:
        server.wait(15)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    return 0


def _notebooks(folder: Path | None) -> Path:
    """The folder to serve: one with notebooks in it as it is; else a copy of the workbook in the one named, or in the
    learner's own, brought up to date."""
    if folder and _has_notebooks(folder):
        return folder.absolute()
    folder = folder or course.own_copy()
    copied = course.copy_to(folder)
    print(f"Your copy of the notebooks is in {folder}: {copied}.", flush=True)
    if copied.kept:
        print("`k8sext reset NOTEBOOK` (as 05) gives you a newer one, and keeps yours beside it.", flush=True)
    return (folder / "notebooks").absolute()


def _has_notebooks(folder: Path) -> bool:
    return next(folder.glob("*.ipynb"), None) is not None


def _workspaces(notebooks: Path) -> Path:
    """The folder where JupyterLab keeps its layout; the first one has the first notebook open, its table of contents to
    the left."""
    from jupyterlab_server.workspaces_handler import WorkspacesManager

    folder = state_folder() / "jupyterlab"
    try:
        if not folder.exists() and (notebooks / course.FIRST_NOTEBOOK).exists():
            layout = FIRST_LAYOUT.read_text().replace("notebooks/", f"{notebooks.name}/")
            WorkspacesManager(str(folder)).save("default", layout)
    except OSError as error:
        raise ClusterError(
            f"{folder} cannot be written: {error.strerror}. Name another place with K8SEXT_STATE."
        ) from error
    return folder


def _options(notebooks: Path, port: int | None, browser: bool | None) -> list[str]:
    """JupyterLab's command line: the folder above the notebooks is its root, so that the manifests can be opened
    too."""
    import zmq

    first = course.FIRST_NOTEBOOK if (notebooks / course.FIRST_NOTEBOOK).exists() else ""
    if browser is None:
        browser = sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    options = [
        f"--ServerApp.root_dir={notebooks.parent}",
        f"--LabApp.default_url=/lab/tree/{notebooks.name}/{first}",
        # Ctrl-C ends it at once, without a question that a learner may not see.
        "--ServerApp.answer_yes=True",
        # A login shell would begin with the system's own PATH.
        f"--ServerApp.terminado_settings={ {'shell_command': [os.environ.get('SHELL') or 'sh']}!r}",
        f"--LabApp.workspaces_dir={_workspaces(notebooks)}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    if zmq.has("curve"):  # else each kernel says in the terminal that others on this machine could listen
        options.append("--KernelManager.transport_encryption=auto")
    if port:
        options.append(f"--ServerApp.port={port}")
    if not browser:
        options.append("--no-browser")
    if os.getuid() == 0:
        options.append("--allow-root")
    return options
