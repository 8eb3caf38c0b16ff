"""Where a cluster keeps its files: one folder per cluster below the user's state folder, one shared cache of
programs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from k8sext.cluster.errors import ClusterError

DEFAULT_NAME = "k8sext"


def state_folder() -> Path:
    """The folder that holds all clusters: $K8SEXT_STATE, else k8sext below the XDG state folder."""
    return Path(os.environ.get("K8SEXT_STATE") or _xdg("XDG_STATE_HOME", ".local/state") / "k8sext")


def cache_folder() -> Path:
    """The folder of programs found or built: $K8SEXT_CACHE, else k8sext below the XDG cache folder."""
    return Path(os.environ.get("K8SEXT_CACHE") or _xdg("XDG_CACHE_HOME", ".cache") / "k8sext")


def _xdg(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / default)


class Entry:
    """A file or folder that a cluster may have in its folder. Layout names all of them, so that `down` removes what
    `up` made."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __set_name__(self, owner: type[Layout], attribute: str) -> None:
        owner.entries.append(self.name)

    def __get__(self, layout: Layout, owner: type[Layout]) -> Path:
        return layout.data / self.name


@dataclass(frozen=True)
class Layout:
    """The files of one cluster, by name. Nothing here touches the disk but the two functions that say so."""

    name: str
    data: Path
    entries: ClassVar[list[str]] = []

    pki = Entry("pki")  # keys and certificates, 0600
    logs = Entry("logs")  # one log a component
    etcd = Entry("etcd")  # etcd's own files
    etcd_unfinished = Entry("etcd.unfinished")  # there as long as etcd's own files are being made and hold nothing yet
    images = Entry("images")  # what pods of RuntimeClass oci run, pulled or loaded
    nodes = Entry("nodes")  # one folder a node
    nodes_file = Entry("nodes.json")  # the nodes that should be there; the node processes make it so
    nodes_lock = Entry("nodes.lock")  # held by the one who changes that file
    kubeconfig = Entry("kubeconfig")  # the administrator's, 0600
    kubeconfig_lock = Entry("kubeconfig.lock")  # kubectl's and kind's own, while they write the kubeconfig
    egress_selector = Entry("egress-selector.yaml")  # how the API server reaches pods
    config = Entry("cluster.json")  # what `up` decided: programs and ports; the supervisor reads it
    state = Entry("state.json")  # what is: phase, pids, restarts; the supervisor writes it
    # What the node processes take for /tmp: client libraries copy keys there, and leave them when they are killed.
    temporary = Entry("tmp")
    kubectl_cache = Entry("kubectl-cache")  # what kubectl learned of the API: nothing of it stays in the learner's home
    # Held as long as the supervisor lives; the kernel lets go of it even after SIGKILL.
    supervisor_lock = Entry("supervisor.lock")
    # Says that this folder is a cluster's: only then is anything in it ever removed, and this one last.
    marker = Entry(".k8sext-cluster")

    @property
    def up_lock(self) -> Path:
        """Held by the one `up` or `down` that is under way."""
        return self.data.parent / f".{self.data.name}.lock"

    @property
    def sockets(self) -> Path:
        """A folder with a short path: unix socket addresses end at 108 bytes. Not in $TMPDIR, which may differ for
        `down`."""
        digest = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:10]
        return Path(f"/tmp/k8sext-{os.getuid()}-{digest}")

    def read_config(self) -> dict[str, Any]:
        """What `up` decided, {} where there is no cluster. Raises ClusterError when the file is damaged."""
        config = read_json(self.config)
        if self.config.exists() and not {"ports", "programs", "server", "version"} <= config.keys():
            raise ClusterError(f"{self.config} is damaged: remove the cluster with `k8sext down` and start it anew.")
        return config

    def config_in_use(self) -> dict[str, Any]:
        """What `up` decided for a cluster that we use. Raises ClusterError where it was removed in the meantime."""
        if not (config := self.read_config()):
            raise ClusterError(f"The cluster {self.name} is gone: start it again with `k8sext up`.")
        return config

    def read_state(self) -> dict[str, Any]:
        """The supervisor's last word, {} where there is none."""
        return read_json(self.state)


def layout(name: str | None = None, data: str | os.PathLike[str] | None = None) -> Layout:
    """The files of the cluster called name (default $K8SEXT_CLUSTER, else k8sext), in data or the state folder.

    Raises ClusterError for a name that cannot be a folder and a DNS label at once, and for a folder that nobody can
    name.
    """
    if name is None:
        name = os.environ.get("K8SEXT_CLUSTER") or DEFAULT_NAME
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", name):
        raise ClusterError(
            f"{name!r} cannot be a cluster's name: use up to 40 small letters, digits and dashes, as in --name class-2."
        )
    if data is not None and not os.fspath(data):
        raise ClusterError("'' cannot be a cluster's folder: name one, as in --data ~/class, or leave --data out.")
    # `k8sext lab` names its cluster's folder to its notebooks; a command in one that names another cluster means that
    # other one.
    inherited = os.environ.get("K8SEXT_DATA") if name == (os.environ.get("K8SEXT_CLUSTER") or DEFAULT_NAME) else None
    folder = Path(data or inherited or state_folder() / "clusters" / name)
    try:
        str(folder).encode()
        return Layout(name, folder.expanduser().resolve())
    except (RuntimeError, UnicodeError, ValueError):
        raise ClusterError(
            f"{str(folder)!r} cannot be a cluster's folder: it names a user who is not here, or characters that are no "
            "UTF-8."
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; {} when the file is missing or was cut off by a crash."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write aside and rename, so that a reader never meets half a file."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        aside.write_text(json.dumps(content, indent=1))
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def check_folder(layout: Layout) -> None:
    """Refuse a folder that holds something else: `down` will remove what is in a cluster's folder. Raises
    ClusterError."""
    if layout.data.exists() and not layout.data.is_dir():
        raise ClusterError(f"{layout.data} is no folder: name an empty or a new one with --data.")
    if layout.marker.exists() or not layout.data.exists() or not any(layout.data.iterdir()):
        return
    # Images that the `down` of an earlier version passed over are a cluster's, too.
    if [*layout.data.iterdir()] != [layout.images] or not (layout.images / "index.json").is_file():
        raise ClusterError(
            f"{layout.data} holds files that are no cluster's: name an empty or a new folder with --data."
        )


def claim(layout: Layout) -> None:
    """Make the cluster's folder and say whose it is, before anything else stands in it. Raises ClusterError,
    OSError."""
    check_folder(layout)
    layout.data.mkdir(mode=0o700, exist_ok=True)
    layout.data.chmod(0o700)
    layout.marker.write_text("A k8sext cluster keeps its files here; `k8sext down` removes them.\n")


def remove_files(layout: Layout) -> None:
    """Remove what is a cluster's, and its folder if nothing else is in it: the learner may have named a folder of their
    own.

    The marker goes last: what was broken off, or cannot be removed, is still a cluster's for the next `down`, and `up`
    may have it again. Raises ClusterError when something cannot be removed.
    """
    from k8sext.infra.cri.store import remove_tree

    marker = layout.marker
    for path in (*[layout.data / name for name in layout.entries], *layout.data.glob(".*.tmp")):
        if path.is_dir():
            remove_tree(path)
        elif path != marker:
            path.unlink(missing_ok=True)
        if path != marker and path.exists():
            raise ClusterError(f"{path} cannot be removed: do it by hand, then call `k8sext down` again.")
    marker.unlink(missing_ok=True)
    if layout.data.exists() and not any(layout.data.iterdir()):
        layout.data.rmdir()


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may enter. Raises ClusterError when somebody else made one of that name
    before."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ClusterError(
            f"{folder} belongs to somebody else, and the cluster's sockets must not stand there: remove it."
        )
    folder.chmod(0o700)
