"""Images from a registry: what they are called, what they are known by for ever, and who may have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from k8sext.infra.cri.handlers.oci import capability_checks as possible
from k8sext.infra.cri.handlers.oci.image_store import ImageError, ImageStore
from k8sext.infra.cri.images import stored_image
from tests.conformance.registry import Registry, serving
from tests.infra.cri.test_images import entry, layer


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    if missing := possible.missing_for_images():
        pytest.skip(f"to run images, install {' and '.join(missing)}")
    found = Registry()
    with serving(found):
        for name, value in found.stand_in(tmp_path / "home", "elsewhere.example", "gone.example").items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture
def images(registry: Registry, tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


def test_an_image_is_found_by_its_tag_its_digest_and_its_id(registry: Registry, images: ImageStore):
    digest = registry.add("tools/one:1", [layer(entry("bin/hello", b"hi"))], {"User": "1002"})
    tag, fixed = f"{registry.address}/tools/one:1", f"{registry.address}/tools/one@{digest}"
    identifier = images.pull(tag)
    found = images.find(tag)
    assert found is not None and found.id == identifier
    assert found == images.find(identifier) == images.find(fixed) == images.find(f"{tag}@{digest}")
    assert (found.tags, found.digests) == ([tag], [fixed])
    told = stored_image(found)
    assert (list(told.repo_tags), list(told.repo_digests), told.uid.value, told.username) == ([tag], [fixed], 1002, "")
    images.remove(fixed)
    assert images.all() == [] and images.find(tag) is None


def test_one_that_is_pulled_by_digest_has_no_tag(registry: Registry, images: ImageStore):
    digest = registry.add("one:1", [layer(entry("x", b"x"))], {})
    images.pull(f"{registry.address}/one@{digest}")
    (found,) = images.all()
    assert (found.tags, found.digests) == ([], [f"{registry.address}/one@{digest}"])


def test_a_tag_that_moved_on_leaves_the_old_image_with_its_digest(registry: Registry, images: ImageStore):
    name = f"{registry.address}/one:1"
    registry.add("one:1", [layer(entry("x", b"old"))], {})
    old = images.pull(name)
    registry.add("one:1", [layer(entry("x", b"new"))], {})
    new = images.pull(name)
    assert {image.id: image.tags for image in images.all()} == {old: [], new: [name]}


def test_mirrors_are_asked_in_place_of_other_registries_and_one_image_is_one(registry: Registry, images: ImageStore):
    digest = registry.add("folder/one:1", [layer(entry("x", b"x"))], {"User": "www-data:7"})
    names = ["elsewhere.example/folder/one:1", "gone.example/folder/one:1"]
    assert len({images.pull(name) for name in names}) == 1
    (found,) = images.all()
    assert (found.tags, found.digests) == (names, [f"{name[:-2]}@{digest}" for name in names])
    told = stored_image(found)
    assert (told.HasField("uid"), told.username) == (False, "www-data")
    images.remove(names[0])
    assert images.all() == []


def test_a_private_registry_is_asked_with_the_pods_credentials(registry: Registry, images: ImageStore):
    registry.add("one:1", [layer(entry("x", b"x"))], {})
    registry.credentials = "user:pass:word"
    for credentials in ("", "user:wrong"):
        with pytest.raises(ImageError, match="skopeo could not do it"):
            images.pull(f"{registry.address}/one:1", credentials)
    images.pull(f"{registry.address}/one:1", registry.credentials)
    assert len(images.all()) == 1 and list(images.folder.glob("new-*")) == []


def test_what_a_registry_does_not_have_leaves_nothing_behind(registry: Registry, images: ImageStore):
    with pytest.raises(ImageError, match="skopeo could not do it"):
        images.pull(f"{registry.address}/one:1")
    assert images.all() == [] and list(images.folder.glob("new-*")) == []


def test_an_image_whose_removal_was_cut_short_is_fetched_anew(
    registry: Registry, images: ImageStore, monkeypatch: pytest.MonkeyPatch
):
    name = f"{registry.address}/one:1"
    registry.add("one:1", [layer(entry("x", b"x"))], {})
    images.pull(name)
    with monkeypatch.context() as killed:
        killed.setattr("k8sext.infra.cri.handlers.oci.image_store.remove_tree", lambda folder: None)
        images.remove(name)
    assert images.all() == []
    images.pull(name)
    (found,) = images.all()
    assert (found.rootfs / "x").read_bytes() == b"x" and list(images.folder.glob("new-*")) == []
