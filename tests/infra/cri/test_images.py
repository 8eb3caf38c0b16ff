"""Images from archives, also from hostile ones: nothing leaves the root folder, nothing is left behind, nothing fills
the disk."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from k8sext.infra.cri.handlers.oci import capability_checks as possible
from k8sext.infra.cri.handlers.oci import image_store as store
from k8sext.infra.cri.handlers.oci.image_store import ImageError, ImageStore, full_name
from k8sext.infra.cri.handlers.oci.users import user_of
from k8sext.infra.cri.proto import api_pb2 as api
from k8sext.infra.grpc import StatusError

NAME = "localhost/test/image:1"


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    if missing := possible.missing_for_images():
        pytest.skip(f"to run images, install {' and '.join(missing)}")
    return ImageStore(tmp_path / "images")


def entry(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    """Return one member of a layer."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size, member.mode = kind, link, len(content), 0o755
    return member, content


def layer(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Return a tar file with exactly these members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def archive(path: Path, *layers: bytes, config: dict[str, Any] | None = None, names: list[str] | None = None) -> Path:
    """Write what `docker save` would: a manifest, a config and layers."""
    digests = [hashlib.sha256(data).hexdigest() for data in layers]
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
    }
    text = json.dumps(image).encode()
    manifest = [
        {
            "Config": "config.json",
            "RepoTags": [NAME] if names is None else names,
            "Layers": [f"{number}.tar" for number in range(len(layers))],
        }
    ]
    files = {"manifest.json": json.dumps(manifest).encode(), "config.json": text}
    files |= {f"{number}.tar": data for number, data in enumerate(layers)}
    path.write_bytes(layer(*(entry(name, content) for name, content in files.items())))
    return path


def test_an_archive_is_unpacked_and_found_by_name_and_id(images: ImageStore, tmp_path: Path):
    file = archive(tmp_path / "a.tar", layer(entry("bin/hello", b"hi")), config={"Cmd": ["/bin/hello"], "User": "7"})
    assert images.load(file) == [NAME]
    found = images.find(NAME)
    assert found is not None and found == images.find(found.id)
    assert (found.rootfs / "bin/hello").read_bytes() == b"hi"
    assert (found.config["Cmd"], found.config["User"], found.names) == (["/bin/hello"], "7", [NAME])
    images.remove(NAME)
    assert images.find(NAME) is None
    assert sorted(path.name for path in images.folder.iterdir()) == ["index.json", "lock"]


def test_an_image_that_goes_while_it_is_looked_at_is_not_here(images: ImageStore, tmp_path: Path):
    images.load(archive(tmp_path / "a.tar", layer(entry("x", b"x"))))
    index = (images.folder / "index.json").read_text()
    images.remove(NAME)
    (images.folder / "index.json").write_text(index)
    assert images.find(NAME) is None and images.all() == []


def test_layers_lie_on_each_other_and_a_whiteout_removes(images: ImageStore, tmp_path: Path):
    lower = layer(entry("etc/one", b"1"), entry("etc/two", b"2"))
    upper = layer(entry("etc/.wh.one"), entry("etc/two", b"22"))
    images.load(archive(tmp_path / "a.tar", lower, upper))
    found = images.find(NAME)
    assert found is not None
    assert {path.name: path.read_bytes() for path in (found.rootfs / "etc").iterdir()} == {"two": b"22"}


def test_a_name_can_be_given_and_must_be_where_the_archive_has_none(images: ImageStore, tmp_path: Path):
    file = archive(tmp_path / "a.tar", layer(entry("x", b"")), names=[])
    with pytest.raises(ImageError, match="give a name with --name"):
        images.load(file)
    assert images.load(file, "tools") == ["docker.io/library/tools:latest"]


@pytest.mark.parametrize(
    "members",
    [
        [entry("../../../escaped", b"bad")],
        [entry("/escaped-absolute", b"bad")],
        [entry("out", kind=tarfile.SYMTYPE, link="OUTSIDE"), entry("out/escaped", b"bad")],
        [entry("out", kind=tarfile.SYMTYPE, link="../../../../../.."), entry("out/tmp/escaped-k8sext", b"bad")],
        [entry("stolen", kind=tarfile.LNKTYPE, link="../../../secret")],
    ],
)
def test_nothing_is_written_or_linked_outside_the_root_folder(images: ImageStore, tmp_path: Path, members: Any):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "secret").write_text("secret")
    for member, _ in members:
        member.linkname = member.linkname.replace("OUTSIDE", str(outside))
    try:
        images.load(archive(tmp_path / "a.tar", layer(*members)))
    except ImageError:
        assert images.find(NAME) is None
    assert list(outside.iterdir()) == []
    assert not Path("/escaped-absolute").exists() and not Path("/tmp/escaped-k8sext").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "images", "outside", "secret"]
    assert not any(
        path.is_file() and not path.is_symlink() and path.samefile(tmp_path / "secret")
        for path in images.folder.rglob("*")
    )
    assert list(images.folder.glob("new-*")) == []


def test_a_bomb_is_refused_before_it_goes_off(images: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "LARGEST_IMAGE", 1 << 20)
    # So small a limit would be that of all that is written beside this test, too.
    monkeypatch.setattr(store, "_free", lambda folder: 1 << 40)
    bomb = gzip.compress(layer(entry("zeros", bytes(4 << 20))))
    assert len(bomb) < 1 << 16
    (tmp_path / "layer").write_bytes(bomb)
    assert store._measure(tmp_path / "layer") > 1 << 20
    with pytest.raises(ImageError, match="larger than"):
        images.load(archive(tmp_path / "a.tar", layer(entry("zeros", bytes(4 << 20)))))
    assert images.all() == [] and list(images.folder.glob("new-*")) == []


@pytest.mark.parametrize(
    "content", [b"", b"not a tar", layer(entry("manifest.json", b"[")), layer(entry("other", b""))]
)
def test_what_is_no_image_archive_is_said_in_a_sentence(images: ImageStore, tmp_path: Path, content: bytes):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ImageError, match="is no image archive"):
        images.load(tmp_path / "a.tar")


def test_a_layer_that_is_cut_off_leaves_nothing_behind(images: ImageStore, tmp_path: Path):
    file = archive(tmp_path / "a.tar", layer(entry("file", os.urandom(100_000))))
    file.write_bytes(file.read_bytes()[:-60_000])
    with pytest.raises(ImageError):
        images.load(file)
    assert images.all() == [] and list(images.folder.glob("new-*")) == []


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("org/tool:2", "docker.io/org/tool:2"),
        ("localhost/x", "localhost/x:latest"),
        ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"),
        ("host:5000/x", "host:5000/x:latest"),
        ("host:5000/x:1@sha256:12", "host:5000/x@sha256:12"),
        ("org/tool@sha256:12", "docker.io/org/tool@sha256:12"),
    ],
)
def test_references_are_completed_as_docker_does(short: str, full: str):
    assert full_name(short) == full


@pytest.mark.parametrize("reference", ["", "-x", "a b", "../etc", "a" * 300, "x;rm"])
def test_what_is_no_reference_is_refused(reference: str):
    with pytest.raises(ImageError, match="no image reference"):
        full_name(reference)


def test_users_are_looked_up_in_the_image_and_nowhere_else(tmp_path: Path):
    root = tmp_path / "rootfs"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("app:x:1000:1001::/home/app:/bin/sh\n")
    (root / "etc/group").write_text("app:x:1001:\nvideo:x:44:other,app\n")
    security = api.LinuxContainerSecurityContext(run_as_username="app")
    user = user_of(security, "", root, real_root=True)
    assert (user.uid, user.gid, sorted(user.groups), user.home) == (1000, 1001, [44, 1001], "/home/app")
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to("/etc/passwd")
    with pytest.raises(StatusError, match="knows no user 'daemon'"):
        user_of(api.LinuxContainerSecurityContext(run_as_username="daemon"), "", root, real_root=True)
    (root / "etc/passwd").unlink()
    os.mkfifo(root / "etc/passwd")
    assert user_of(api.LinuxContainerSecurityContext(), "", root, real_root=True).uid == 0


@pytest.mark.parametrize("user", ["4294967296", "4294967295", "2147483648", "0:4294967296", "²", "app"])
def test_a_user_of_an_image_whose_number_no_tool_can_hold_is_refused(tmp_path: Path, user: str):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("app:x:4294967296:0::/:/bin/sh\n")
    with pytest.raises(StatusError, match=r"from 0 to 2147483647|knows no user"):
        user_of(api.LinuxContainerSecurityContext(), user, tmp_path, real_root=True)


def test_a_number_in_a_request_is_checked_too(tmp_path: Path):
    for asked in (
        api.LinuxContainerSecurityContext(run_as_user=api.Int64Value(value=2**32)),
        api.LinuxContainerSecurityContext(run_as_user=api.Int64Value(value=-1)),
        api.LinuxContainerSecurityContext(supplemental_groups=[2**32]),
    ):
        with pytest.raises(StatusError, match=r"from 0 to 2147483647|knows no user '-1'"):
            user_of(asked, "", tmp_path, real_root=True)


@pytest.mark.parametrize(("asked", "group"), [(1000, 7), (1001, 0)])
def test_a_kubelet_that_names_the_images_own_user_does_not_lose_its_group(
    tmp_path: Path, asked: int, group: int
) -> None:
    security = api.LinuxContainerSecurityContext(run_as_user=api.Int64Value(value=asked))
    assert user_of(security, "1000:7", tmp_path, real_root=True)[:2] == (asked, group)
