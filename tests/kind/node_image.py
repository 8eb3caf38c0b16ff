"""The node image: Debian by debootstrap, packages, our programs, and the images of the control plane in the node's own
store.

Docker keeps every step, so that only what changed is done again.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from k8sext.cluster.programs.progress import Progress
from k8sext.versions import KUBERNETES
from tests.kind import archive, programs
from tests.kind.cache import folder
from tests.kind.daemon import CannotRun

HERE = Path(__file__).parent
DEBIAN = "k8sext-debian:bookworm"
MIRROR = "http://deb.debian.org/debian"
LEFT_OUT = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# Start the runtime without Kubernetes, hand it the images, and let it go.
IMPORT = """
containerd & until ctr version >/dev/null 2>&1; do sleep 0.1; done
for archive in /archives/*.tar; do ctr --namespace=k8s.io images import --no-unpack $archive || exit 1; done
kill %1; wait
"""


def node_image(progress: Progress) -> str:
    """The tag of the node image, which is made if Docker does not have it. Raises CannotRun."""
    found = programs.find(progress)
    tag = f"k8sext-node:{KUBERNETES}-{_digest(found)}"
    if _exists(tag):
        return tag
    _debian(progress)
    tags = programs.images(found["kubeadm"], KUBERNETES)
    with progress.step("Making the node image"), tempfile.TemporaryDirectory(prefix="node-", dir=folder()) as scratch:
        bare = _bare_node(Path(scratch), found, tags["pause"])
        _archives(Path(scratch) / "archives", found, tags)
        _with_images(bare, Path(scratch) / "archives", tag)
    return tag


def python_base(progress: Progress) -> str:
    """The tag of an image with Python, for the workbook image to stand on. Raises CannotRun."""
    _debian(progress)
    tag = "k8sext-python:bookworm"
    with progress.step("Making a Python image"), _context() as context:
        shutil.copy(CERTIFICATES, context)
        _build(context, HERE / "node" / "python.Dockerfile", tag)
    return tag


def _debian(progress: Progress) -> None:
    """The smallest Debian as an image."""
    if _exists(DEBIAN):
        return
    tarball = folder() / "debian.tar"
    if not tarball.exists():
        if not shutil.which("debootstrap"):
            raise CannotRun("no image registry is reached, and debootstrap is not installed to make images without one")
        with progress.step("Fetching Debian"), tempfile.TemporaryDirectory(prefix="debian-", dir=folder()) as scratch:
            _run("debootstrap", "--variant=minbase", "bookworm", f"{scratch}/root", MIRROR)
            left_out = [f"--exclude=./{path}/*" for path in LEFT_OUT]
            _run("tar", "--directory", f"{scratch}/root", *left_out, "--create", "--file", f"{scratch}/debian.tar", ".")
            Path(scratch, "debian.tar").replace(tarball)
    _run("docker", "import", str(tarball), DEBIAN)


def _bare_node(context: Path, found: dict[str, Path], pause: str) -> str:
    """The node without images in its store."""
    shutil.copytree(HERE / "node" / "files", context / "files")
    config = context / "files/etc/containerd/config.toml"
    config.write_text(config.read_text().replace("PAUSE_IMAGE", pause))
    (context / "files/kind/version").write_text(KUBERNETES)
    (context / "programs/usr/bin").mkdir(parents=True)
    for name in ("kubeadm", "kubelet", "kubectl"):
        shutil.copy(found[name], context / "programs/usr/bin")
    return _build(context, HERE / "node" / "Dockerfile", "k8sext-node:bare")


def _archives(target: Path, found: dict[str, Path], tags: dict[str, str]) -> None:
    """The control plane's images, each with one static program, and kube-proxy's, which needs iptables beside it."""
    target.mkdir()
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"):
        archive.write(target / f"{name}.tar", tags[name], {f"/usr/local/bin/{name}": found[name]})
    archive.write(target / "pause.tar", tags["pause"], {"/pause": found["pause"]}, ["/pause"])
    with _context() as context:
        shutil.copy(found["kube-proxy"], context)
        _build(context, HERE / "node" / "kube-proxy.Dockerfile", tags["kube-proxy"])
    _run("docker", "save", "--output", str(target / "kube-proxy.tar"), tags["kube-proxy"])


def _with_images(bare: str, archives: Path, tag: str) -> None:
    """Let the node's own runtime take the images in, and keep what came of it under the tag."""
    name = f"k8sext-node-{uuid.uuid4().hex[:8]}"
    try:
        _run(
            *(
                "docker",
                "run",
                "--privileged",
                "--name",
                name,
                "--network",
                "host",
                "--volume",
                f"{archives}:/archives:ro",
            ),
            *("--entrypoint", "bash", bare, "-c", IMPORT),
        )
        _run(
            "docker", "commit", "--change", 'ENTRYPOINT ["/usr/local/bin/entrypoint"]', "--change", "CMD []", name, tag
        )
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True)


@contextlib.contextmanager
def _context() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="context-", dir=folder()) as scratch:
        yield Path(scratch)


def _build(context: Path, dockerfile: Path, tag: str) -> str:
    _run(
        *("docker", "build", "--network", "host", "--build-arg", f"DEBIAN={DEBIAN}", "--tag", tag),
        *("--file", str(dockerfile), str(context)),
    )
    return tag


def _exists(tag: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", tag], capture_output=True).returncode == 0


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        words = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise CannotRun(f"`{' '.join(command[:4])} ...` failed:\n{words}")


def _digest(found: dict[str, Path]) -> str:
    """What the image is made of, in a short number."""
    digest = hashlib.sha256()
    for file in sorted([*(HERE / "node").rglob("*"), HERE / "archive.py", Path(__file__)]):
        if file.is_file():
            digest.update(file.read_bytes())
    for name, path in sorted(found.items()):
        digest.update(f"{name} {path.stat().st_size}".encode())
    return digest.hexdigest()[:12]
