"""`make bump`, on a copy of the tree and with a Go that only pretends: what it rewrites, and that it rewrites all or
nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from k8sext.cluster.providers.kind import images
from k8sext.versions import ETCD, KUBERNETES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FOLDERS = ("k8sext", "tools", "tests/kind/gomod")
MAJOR, MINOR, PATCH = KUBERNETES.removeprefix("v").split(".")
NEXT_PATCH, NEXT_MINOR = f"{MAJOR}.{MINOR}.{int(PATCH) + 1}", f"{MAJOR}.{int(MINOR) + 1}.0"
GO = """#!/bin/sh
echo "$*" >> {folder}/asked
case "$*" in
  "mod download"*) echo '{{"GoMod": "{folder}/kubernetes.mod"}}' ;;
  "list"*) echo sums > go.sum ;;
esac
exit {code}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the command rewrites, and of the package, which is run from there."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tmp_path / "tree" / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "kubernetes.mod").write_text("replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n)\n")
    pretend(tmp_path)
    return tmp_path / "tree"


def pretend(folder: Path, code: int = 0) -> None:
    (folder / "go").write_text(GO.format(folder=folder, code=code))
    (folder / "go").chmod(0o755)


def bump(tree: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{tree.parent}:/usr/bin:/bin", "PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "tools.bump", *options]
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)


def content(tree: Path) -> dict[str, str]:
    names = [path for path in tree.rglob("*") if path.suffix in (".py", ".mod", ".sum")]
    return {str(path.relative_to(tree)): path.read_text() for path in names}


def test_a_patch_release_changes_the_constant_and_the_modules(tree: Path) -> None:
    before = content(tree)
    done = bump(tree, NEXT_PATCH)
    assert done.returncode == 0 and "make notebooks" in done.stdout, done.stderr
    after = content(tree)
    gomod = "k8sext/cluster/programs/gomod"
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"k8sext/versions.py", f"{gomod}/go.mod", f"{gomod}/go.sum", "tests/kind/gomod/go.mod"}
    assert after["k8sext/versions.py"] == before["k8sext/versions.py"].replace(f'"{KUBERNETES}"', f'"v{NEXT_PATCH}"')
    staging = NEXT_PATCH.replace("1.", "v0.", 1)
    assert f"\tk8s.io/kubernetes v{NEXT_PATCH}\n" in after[f"{gomod}/go.mod"]
    assert f"\tk8s.io/api => k8s.io/api {staging}\n" in after[f"{gomod}/go.mod"]
    kind = after["tests/kind/gomod/go.mod"]
    assert (
        f"require k8s.io/kubernetes v{NEXT_PATCH}\n" in kind and f"k8s.io/kubelet => k8s.io/kubelet {staging}" in kind
    )
    assert KUBERNETES not in kind and f"k8s.io/kubernetes@v{NEXT_PATCH}" in (tree.parent / "asked").read_text()


def test_another_minor_version_needs_another_image_for_kinds_nodes(tree: Path) -> None:
    before = content(tree)
    refused = bump(tree, NEXT_MINOR)
    assert refused.returncode == 1 and "name one with --node-image" in refused.stderr
    assert "is no pinned image" in bump(tree, NEXT_MINOR, "--node-image", f"kindest/node:v{NEXT_MINOR}").stderr
    assert content(tree) == before
    image = f"kindest/node:v{NEXT_MINOR}@sha256:{'a' * 64}"
    done = bump(tree, NEXT_MINOR, "--node-image", image, "--etcd", "3.8.1")
    assert done.returncode == 0, done.stderr
    after = content(tree)
    assert f'NODE = "{image}"\n' in after["k8sext/cluster/providers/kind/images.py"]
    assert images.NODE not in after["k8sext/cluster/providers/kind/images.py"]
    assert 'ETCD = "v3.8.1"\n' in after["k8sext/versions.py"] and f'"{ETCD}"' not in after["k8sext/versions.py"]


def test_when_go_fails_nothing_is_changed(tree: Path) -> None:
    before = content(tree)
    pretend(tree.parent, code=1)
    done = bump(tree, NEXT_PATCH)
    assert done.returncode == 1 and "nothing was changed" in done.stderr
    assert content(tree) == before


def test_what_is_no_version_is_refused(tree: Path) -> None:
    assert "'1.37' is no version: write it as 1.37.3." in bump(tree, "1.37").stderr


def test_make_names_the_command() -> None:
    options = ("VERSION=1.37.3", "ETCD=3.7.4", "NODE_IMAGE=a@b")
    said = subprocess.run(["make", "-n", "bump", *options], cwd=ROOT, capture_output=True, text=True).stdout
    assert "tools.bump 1.37.3 --etcd=3.7.4 --node-image=a@b" in said
