"""Volumes: files that change all at once, and nothing outside their folder."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from k8sext.infra.kubelet.pod.env import ConfigError
from k8sext.infra.kubelet.volumes import atomic_writer
from k8sext.infra.kubelet.volumes.atomic_writer import File
from k8sext.infra.kubelet.volumes.manager import VolumeError, Volumes
from tests.infra.kubelet.building import container, pod
from tests.infra.kubelet.fakes import FakeApi, FakeRuntime, surroundings

IP = "10.244.1.7"


def content(folder: Path) -> dict[str, str]:
    """What a reader sees."""
    return {p.name: p.read_text() for p in folder.iterdir() if not p.name.startswith("..") and p.is_file()}


def test_files_appear_change_and_go(tmp_path: Path) -> None:
    assert atomic_writer.write(tmp_path, {"a": File(b"1", 0o644), "b": File(b"2", 0o600)})
    assert content(tmp_path) == {"a": "1", "b": "2"}
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600
    assert atomic_writer.write(tmp_path, {"a": File(b"new", 0o644)})
    assert content(tmp_path) == {"a": "new"}
    assert len([p for p in tmp_path.iterdir() if p.name.startswith("..")]) == 2


def test_nothing_is_touched_when_nothing_changed(tmp_path: Path) -> None:
    files = {"deep/er": File(b"1", 0o644)}
    atomic_writer.write(tmp_path, files)
    before = (tmp_path / "..data").readlink()
    assert not atomic_writer.write(tmp_path, files)
    assert (tmp_path / "..data").readlink() == before
    assert (tmp_path / "deep" / "er").read_text() == "1"


def test_an_open_reader_sees_the_old_or_the_new_and_never_a_mixture(tmp_path: Path) -> None:
    atomic_writer.write(tmp_path, {"a": File(b"1", 0o644), "b": File(b"1", 0o644)})
    version = (tmp_path / "..data").resolve()
    opened = (tmp_path / "a").open()
    atomic_writer.write(tmp_path, {"a": File(b"2", 0o644), "b": File(b"2", 0o644)})
    assert opened.read() == "1"
    assert content(tmp_path) == {"a": "2", "b": "2"}
    assert not version.exists()


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../out", "..data", ""])
def test_a_path_out_of_the_volume_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no path inside a volume"):
        atomic_writer.write(tmp_path / "v", {name: File(b"1", 0o644)})


async def test_a_projected_volume_holds_all_its_sources(tmp_path: Path) -> None:
    api = FakeApi()
    api.objects["/api/v1/namespaces/shop/configmaps/ca"] = {"kind": "ConfigMap", "data": {"ca.crt": "CA"}}
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        {"secret": {"name": "none", "optional": True}},
    ]
    of = pod(volumes=[{"name": "all", "projected": {"sources": sources}}])
    async with surroundings(tmp_path, FakeRuntime(), api) as parts:
        assert await parts.volumes.prepare(of, IP, pytest.fail) <= 60
        folder = tmp_path / "pods" / "u1" / "volumes" / "kubernetes.io~projected" / "all"
        assert content(folder) == {"token": "token 0", "ca.crt": "CA", "namespace": "shop"}
        await parts.volumes.remove("u1")
        assert not (tmp_path / "pods" / "u1").exists()


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        ({"configMap": {"name": "here", "items": [{"key": "b", "path": "b"}]}}, "non-existent shop/here key: b"),
        ({"configMap": {"name": "here", "items": [{"key": "a", "path": "../a"}]}}, "no path inside"),
        ({"hostPath": {"path": "/"}}, "/ is refused"),
        ({"hostPath": {"path": "/var/lib/kubelet/none"}}, "/var/lib/kubelet/none is not on this node"),
        ({"hostPath": {"path": "/var/lib/kubelet/plugins", "type": "File"}}, "plugins is not a file"),
        ({"hostPath": {"path": "/var/lib/kubelet/plugins", "type": "Socket"}}, "plugins is not a socket file"),
        ({"hostPath": {"path": "/var/lib/kubelet/none", "type": "Directory"}}, "none is not a directory"),
        ({"persistentVolumeClaim": {"claimName": "x"}}, 'persistentvolumeclaim "x" not found'),
        ({"nfs": {"server": "s", "path": "/"}}, "is of kind nfs, which this kubelet does not serve"),
    ],
)
async def test_what_cannot_be_set_up_is_said_in_words(tmp_path: Path, volume: dict[str, object], message: str) -> None:
    api = FakeApi()
    api.objects["/api/v1/namespaces/shop/configmaps/here"] = {"kind": "ConfigMap", "data": {"a": "1"}}
    async with surroundings(tmp_path, FakeRuntime(), api) as parts:
        with pytest.raises(VolumeError, match=message):
            await parts.volumes.prepare(pod(volumes=[{"name": "v"} | volume]), IP, pytest.fail)


async def test_a_sub_path_stays_in_its_volume(tmp_path: Path) -> None:
    async with surroundings(tmp_path, FakeRuntime(), FakeApi()) as parts:
        volumes: Volumes = parts.volumes
        of = pod(volumes=[{"name": "v", "emptyDir": {}}])
        await volumes.prepare(of, IP, pytest.fail)
        (mount,) = volumes.mounts(
            of, container("main", volumeMounts=[{"name": "v", "mountPath": "/v", "subPathExpr": "$(X)"}]), {"X": "in"}
        )
        assert (mount.container_path, mount.readonly) == ("/v", False)
        assert mount.host_path.endswith("kubernetes.io~empty-dir/v/in")
        (relative,) = volumes.mounts(of, container("main", volumeMounts=[{"name": "v", "mountPath": "v/w"}]), {})
        assert relative.container_path == "/v/w"
        unknown = {"name": "v", "mountPath": "/v", "subPathExpr": "$$(X)/$(NOPE)"}
        with pytest.raises(ConfigError, match='missing value for "NOPE"'):
            volumes.mounts(of, container("main", volumeMounts=[unknown]), {"X": "in"})
        assert not [*Path(mount.host_path).parent.glob("$*")]
        (Path(mount.host_path).parent / "link").symlink_to("/etc")
        for sub_path in ("..", "../../../other", "link"):
            with pytest.raises(VolumeError, match="leads out of the volume"):
                volumes.mounts(
                    of, container("main", volumeMounts=[{"name": "v", "mountPath": "/v", "subPath": sub_path}]), {}
                )
