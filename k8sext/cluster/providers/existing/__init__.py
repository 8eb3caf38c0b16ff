"""The provider `existing`: a cluster that is there already, by the name of its kubeconfig context, shared with others.

`up` says what the notebooks will make and asks once; then it takes a lock, makes an account for the notebooks whose
work is marked with a label, and writes that account's kubeconfig. `down` removes all of it and nothing else.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
from pathlib import Path
from typing import Any

from k8sext.cluster import programs
from k8sext.cluster.errors import ClusterError, writing
from k8sext.cluster.paths import Layout, claim, remove_files, write_json
from k8sext.cluster.programs.progress import Progress
from k8sext.cluster.providers import Wishes
from k8sext.cluster.providers.existing import account, callback, lock, preflight, removal
from k8sext.cluster.providers.existing.inventory import HOME
from k8sext.cluster.providers.existing.reports import status
from k8sext.cluster.providers.existing.target import Target, choose

__all__ = ["down", "status", "up"]

DATA_SETTING = "name another folder with --data, or another place for all clusters with K8SEXT_STATE"


def up(layout: Layout, progress: Progress, wishes: Wishes) -> bool:
    """Make the cluster of a context ready for the notebooks. Returns whether this call did; else it renewed the lock.

    Raises ClusterError; then nothing of a first try that was refused is left, here or there.
    """
    import filelock

    with writing(layout.data, "The cluster's folder", DATA_SETTING):
        layout.data.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(layout.up_lock):
            if found := layout.read_config():
                _refuse_another(layout, found, wishes.context)
                if found.get("made"):
                    _renew(layout, found)
                    return False
            _set_up(layout, progress, wishes)
    return True


def _refuse_another(layout: Layout, found: dict[str, Any], context: str | None) -> None:
    wanted = context or os.environ.get("K8SEXT_CONTEXT")
    if wanted and wanted != found["context"]:
        raise ClusterError(
            f"{layout.name!r} is the cluster of the context {found['context']}, not {wanted}: leave that one first "
            "with "
            f"`k8sext down --name {layout.name}`, or give the new one another --name."
        )


def _renew(layout: Layout, found: dict[str, Any]) -> None:
    target = _target(layout, found)
    if not target.json("namespace", HOME, "--ignore-not-found"):
        raise ClusterError(
            f"What the workbook made in the cluster of {found['context']} is gone, as after a `k8sext down` of "
            "somebody who took over when "
            f"the lock ran out: begin anew with `k8sext down --name {layout.name}` and `k8sext up`."
        )
    lock.take(target, found["owner"])


def _set_up(layout: Layout, progress: Progress, wishes: Wishes) -> None:
    beside = programs.beside(progress)
    claim(layout)
    owner, begun = owner_name(layout), False
    try:
        target = choose(beside["kubectl"], wishes.context, wishes.kubeconfig, layout.kubectl_cache)
        with progress.step(f"Looking at the cluster of {target.context}"):
            server = preflight.check(target, owner)
        if not (wishes.consent and wishes.consent(preflight.plan(target, server, owner))):
            raise ClusterError(
                "Nothing was changed, as nobody agreed to it. `k8sext up --provider existing --context NAME` in a "
                "terminal shows what the "
                "notebooks will make and asks; --yes agrees beforehand."
            )
        write_json(layout.config, _config(layout, target, beside, owner, server, before=removal.nodes(target)))
        begun = True
        with progress.step("Making an account for the notebooks"):
            target.run("apply", "--filename=-", input=account.home(owner))
            lock.take(target, owner)
            mine = account.set_up(target, layout, owner)
        with progress.step("Asking whether the control plane can call this machine"):
            host = callback.find(mine, owner)
        write_json(layout.config, {**layout.read_config(), "callback_host": host, "made": True})
    except BaseException:
        if not begun:
            remove_files(layout)
        raise


def owner_name(layout: Layout) -> str:
    """Who works here, as a label's value: user, machine and the name of this cluster. The same again when the folder is
    lost."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in many containers
        user = str(os.getuid())
    words = re.sub(r"[^A-Za-z0-9_.-]", "-", f"{user}.{socket.gethostname().partition('.')[0]}.{layout.name}")
    return words[-63:].strip("-_.")


def _config(
    layout: Layout,
    target: Target,
    programs: dict[str, Path],
    owner: str,
    server: preflight.Server,
    before: dict[str, Any],
) -> dict[str, Any]:
    return {
        "name": layout.name,
        "provider": "existing",
        "server": server.address,
        "version": server.version,
        "ports": {},
        "programs": {name: str(path) for name, path in programs.items()},
        "context": target.context,
        "files": target.files,
        "owner": owner,
        "nodes_before": before,
        "callback_host": "",
        "made": False,
    }


def _target(layout: Layout, found: dict[str, Any]) -> Target:
    return Target(Path(found["programs"]["kubectl"]), found["files"], found["context"], layout.kubectl_cache)


def down(layout: Layout) -> bool:
    """Remove what the notebooks made and the folder here. Returns whether there was anything to remove. Raises
    ClusterError.

    When the lock ran out and another learner has it now, all of that is theirs, and only the folder goes.
    """
    import filelock

    from k8sext.cluster.programs.progress import for_terminal

    if not layout.marker.exists():
        return False
    with writing(layout.data, "The cluster's folder", "give yourself the right to write there"):
        with filelock.FileLock(layout.up_lock):
            if found := layout.read_config():
                target = _target(layout, found)
                if lock.holder(target) in (None, found["owner"]):
                    removal.remove_all(target, found["nodes_before"], for_terminal())
            remove_files(layout)
        layout.up_lock.unlink(missing_ok=True)
    return True
