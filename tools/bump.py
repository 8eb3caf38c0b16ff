"""`make bump VERSION=1.37.3`: put the whole workbook on another Kubernetes. For maintainers; needs Go and its proxy.

Rewritten are KUBERNETES (and with --etcd ETCD) in k8sext/versions.py, the Go modules of the programs and of the tests'
node image, and with --node-image the image that kind's nodes are made from, which must be of the same minor version.
`make notebooks` comes after it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from k8sext.cluster.errors import ClusterError
from k8sext.versions import KUBERNETES, minor

ROOT = Path(__file__).parents[1]
VERSIONS = ROOT / "k8sext/versions.py"
NODE_IMAGE = ROOT / "k8sext/cluster/providers/kind/images.py"
MODULES = ROOT / "k8sext/cluster/programs/gomod"
TEST_MODULES = ROOT / "tests/kind/gomod"


def main(words: list[str]) -> int:
    """Rewrite all of it, or nothing. Returns 0 when it is done."""
    parser = argparse.ArgumentParser(prog="make bump", description=__doc__)
    parser.add_argument("version", help="as 1.37.3")
    parser.add_argument("--etcd", help="as 3.7.4 [default: the one pinned now]")
    parser.add_argument("--node-image", help="as kindest/node:v1.38.0@sha256:... [default: the one pinned now]")
    chosen = parser.parse_args(words)
    try:
        with _all_or_nothing():
            bump(_version(chosen.version), chosen.etcd and _version(chosen.etcd), chosen.node_image)
    except ClusterError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print("Next: `make notebooks`, whose outputs name the version, then `make test`.")
    return 0


def _version(text: str) -> str:
    if not (match := re.fullmatch(r"v?(\d+\.\d+\.\d+)", text)):
        raise ClusterError(f"{text!r} is no version: write it as 1.37.3.")
    return f"v{match[1]}"


def bump(version: str, etcd: str | None, node_image: str | None) -> None:
    """Rewrite every file that names the version. Raises ClusterError, with files half written."""
    _check_node_image(version, node_image)
    _replace(VERSIONS, r'^KUBERNETES = ".*"$', f'KUBERNETES = "{version}"')
    if etcd:
        _replace(VERSIONS, r'^ETCD = ".*"$', f'ETCD = "{etcd}"')
    if node_image:
        _replace(NODE_IMAGE, r'^NODE = ".*"$', f'NODE = "{node_image}"')
    module = TEST_MODULES / "go.mod"
    for old, new in ((KUBERNETES, version), (_staging(KUBERNETES), _staging(version))):
        _replace(module, rf"(?<=\s){re.escape(old)}$", new)
    try:
        # A process of its own, which reads the new version.
        subprocess.run([sys.executable, "-m", "tools.programs_module"], cwd=ROOT, check=True)
        subprocess.run(["go", "mod", "tidy"], cwd=TEST_MODULES, check=True)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise ClusterError(f"Go could not resolve the modules of {version} ({error}): nothing was changed.") from error


def _staging(version: str) -> str:
    return version.replace("v1.", "v0.")


def _check_node_image(version: str, image: str | None) -> None:
    """kind's nodes may be some patches behind, as their images come with kind's own releases, but of the same minor
    version."""
    if image and not re.fullmatch(r"\S+:v\d+\.\d+\.\d+@sha256:[0-9a-f]{64}", image):
        raise ClusterError(
            f"{image!r} is no pinned image: write it as kindest/node:v1.38.0@sha256:..., from kind's release notes."
        )
    found = re.search(r":(v[\d.]+)@", image or NODE_IMAGE.read_text())
    if not found or minor(found[1]) != minor(version):
        raise ClusterError(
            f"kind's node image is {found[1] if found else 'of no version'}, of another minor version than {version}: "
            "name one with "
            "--node-image (make bump VERSION=... NODE_IMAGE=...), from the notes of kind's release for it."
        )


def _replace(file: Path, pattern: str, new: str) -> None:
    text, count = re.subn(pattern, new, file.read_text(), flags=re.MULTILINE)
    if not count:
        raise ClusterError(f"{file} names no version in the way that this command knows ({pattern}).")
    file.write_text(text)


@contextmanager
def _all_or_nothing() -> Iterator[None]:
    files = [VERSIONS, NODE_IMAGE, *MODULES.iterdir(), *(TEST_MODULES / name for name in ("go.mod", "go.sum"))]
    before = {file: file.read_bytes() for file in files}
    try:
        yield
    except BaseException:
        for file, content in before.items():
            file.write_bytes(content)
        raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
