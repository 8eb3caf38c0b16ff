"""A cluster's folder: what `down` removes of it, and that `up` may have it again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from k8sext import cluster as clusters
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.paths import check_folder, claim, layout, remove_files, write_json
from k8sext.infra.cri.handlers.oci.capability_checks import missing_for_images
from tests.kind import archive

CONFIG = {"server": "https://127.0.0.1:1", "version": "v1.37.2", "ports": {}, "programs": {}}


@pytest.mark.skipif(bool(missing_for_images()), reason="needs skopeo and umoci, to load an image")
def test_an_image_that_was_loaded_goes_with_its_cluster(tmp_path: Path) -> None:
    where = layout("one", tmp_path / "one")
    claim(where)
    write_json(where.config, CONFIG)
    (readme := tmp_path / "README").write_text("all of the image")
    archive.write(tmp_path / "image.tar", "localhost/one:1", {"etc/README": readme})
    load = [sys.executable, "-m", "k8sext", "image", "load", str(tmp_path / "image.tar")]
    subprocess.run([*load, "--cluster", "one", "--data", str(where.data)], check=True)
    assert clusters.down(where)
    check_folder(where)
    assert not where.data.exists()


def test_images_that_an_earlier_version_left_are_a_clusters(tmp_path: Path) -> None:
    where = layout("one", tmp_path / "one")
    where.images.mkdir(parents=True)
    with pytest.raises(ClusterError, match="holds files that are no cluster's"):
        claim(where)  # somebody's pictures
    (where.images / "index.json").write_text("{}")
    claim(where)


def test_what_cannot_be_removed_is_said_and_does_not_keep_up_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = layout("one", tmp_path / "one")
    claim(where)
    write_json(where.config, CONFIG)
    where.images.mkdir()
    with monkeypatch.context() as patch, pytest.raises(ClusterError, match="images cannot be removed: do it by hand"):
        patch.setattr("k8sext.infra.cri.store.remove_tree", lambda folder: None)
        clusters.down(where)
    check_folder(where)
    assert clusters.down(where) and not where.data.exists()


def test_every_file_of_a_cluster_goes_and_no_other(tmp_path: Path) -> None:
    where = layout("one", tmp_path / "one")
    claim(where)
    for name in where.entries:
        (where.data / name).touch()
    (where.data / "thesis.txt").touch()
    remove_files(where)
    assert [file.name for file in where.data.iterdir()] == ["thesis.txt"]
