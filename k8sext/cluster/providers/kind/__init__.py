"""The provider `kind`: the same cluster in Docker containers, made by the kind command line (https://kind.sigs.k8s.io).

`up` writes down what it made where the embedded provider does, so that notebooks and commands need not know which one
they talk to.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from k8sext.cluster import node_specs, programs
from k8sext.cluster.docker import bridge_address, check, containers, docker, explain
from k8sext.cluster.errors import ClusterError, writing
from k8sext.cluster.kubectl import kubectl
from k8sext.cluster.paths import Layout, check_folder, claim, remove_files, write_json
from k8sext.cluster.ports import choose
from k8sext.cluster.programs.progress import Progress
from k8sext.cluster.providers import Wishes
from k8sext.cluster.providers.kind import config, extra_nodes, images, program, reports
from k8sext.infra.nodes import CONTROL_PLANE
from k8sext.versions import KUBERNETES

DATA_SETTING = "name another folder with --data, or another place for all clusters with K8SEXT_STATE"
READY_LIMIT = 180.0

status, log_command = reports.status, reports.log_command
add_node, remove_node = extra_nodes.add, extra_nodes.remove


def up(layout: Layout, progress: Progress, wishes: Wishes) -> bool:
    """Make the cluster run. Returns whether this call started it. Raises ClusterError; then nothing of a failed start
    is left."""
    import filelock

    check()
    port = wishes.port
    with writing(layout.data, "The cluster's folder", DATA_SETTING):
        layout.data.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(layout.up_lock):
            if _revive(layout, port, progress):
                return False
            _refuse_strangers(layout)
            kind = program.find(progress)
            found = programs.beside(progress)
            node_image = images.node_image(progress)
            workbook = images.workbook_image(progress)
            ports = choose(("kube-apiserver",), {}, {"kube-apiserver": port} if port else None)
            _prepare(layout, found, ports)
            try:
                _create(layout, kind, node_image, workbook, ports["kube-apiserver"], progress)
                version = _version(found["kubectl"], layout)
                _write_down(layout, found, ports, version=version, callback_host=bridge_address(), made=True)
                _free_the_workers(layout)
                with progress.step("Waiting for all nodes to be Ready"):
                    _wait_ready(layout)
            except BaseException:
                _delete(layout)
                raise
    return True


def _revive(layout: Layout, port: int | None, progress: Progress) -> bool:
    """Whether the cluster is there and whole; one whose containers were stopped, by a restart of Docker or by hand, is
    started again."""
    found = layout.read_config()
    if not found.get("made") or len(here := containers(layout.name)) < len(node_specs.defaults()):
        return False
    if port and port != found["ports"]["kube-apiserver"]:
        raise ClusterError(
            f"The cluster {layout.name!r} is up on port {found['ports']['kube-apiserver']}, not {port}: "
            f"stop it first with `k8sext down --name {layout.name}`, or give the new one another --name."
        )
    if not any(entry["State"]["Running"] for entry in here.values()):
        with progress.step("Starting the containers of the cluster again"):
            docker("start", *here)
            _wait_ready(layout)
    return True


def _refuse_strangers(layout: Layout) -> None:
    """Remove what a broken-off start of our own left; refuse a kind cluster of this name that somebody else made."""
    check_folder(layout)
    if not (here := containers(layout.name)):
        return
    if layout.marker.exists():
        docker("rm", "--force", "--volumes", *here)
        return
    raise ClusterError(
        f"Docker holds a kind cluster {layout.name!r}, half made or made by somebody else ({', '.join(here)}): remove "
        "it with "
        f"`kind delete cluster --name {layout.name}`, or choose another --name."
    )


def _prepare(layout: Layout, found: dict[str, Path], ports: dict[str, int]) -> None:
    """Say whose folder this is before anything is made, so that `down` can remove what a broken-off start leaves."""
    claim(layout)
    layout.logs.mkdir(mode=0o700, exist_ok=True)
    _write_down(layout, found, ports, version=KUBERNETES, made=False)


def _create(layout: Layout, kind: Path, node_image: str, workbook: str, port: int, progress: Progress) -> None:
    """Let kind make the cluster, and load the workbook's image into its nodes."""
    create = [str(kind), "create", "cluster", f"--name={layout.name}", f"--image={node_image}", "--config=-"]
    mounts = {spec.name: extra_nodes.machine_files(layout, spec) for spec in node_specs.defaults()}
    _kind(layout, progress, [*create, f"--kubeconfig={layout.kubeconfig}"], config.cluster(port, mounts))
    layout.kubeconfig.write_text(config.renamed(layout.kubeconfig.read_text(), layout.name))
    layout.kubeconfig.chmod(0o600)
    with progress.step(f"Loading {workbook} into the nodes"):
        images.load(kind, layout.name)


def _kind(layout: Layout, progress: Progress, command: list[str], input: str) -> None:
    """Run kind, say its steps as they are done, and keep all its words in the log. Raises ClusterError with what it
    complained of."""
    words = []
    with TemporaryFile("w+") as given:  # not a pipe: kind may complain and end before it has read anything
        given.write(input)
        given.seek(0)
        process = subprocess.Popen(
            command,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            words.append(line)
            if line.strip().startswith("✓"):
                progress.say(f"kind: {line.strip().strip('✓ ')}")
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        with (layout.logs / "kind.log").open("a") as log:
            log.writelines(words)
    if code != 0:
        complaint = next((line for line in words if line.startswith("ERROR")), "".join(words[-3:]))
        raise ClusterError(
            explain("".join(words) if "docker" in complaint else complaint, "kind could not make the cluster")
        )


def _write_down(layout: Layout, found: dict[str, Path], ports: dict[str, int], **more: Any) -> None:
    config = {
        "name": layout.name,
        "provider": "kind",
        "server": f"https://127.0.0.1:{ports['kube-apiserver']}",
        "ports": ports,
        "programs": {name: str(path) for name, path in found.items()},
    }
    write_json(layout.config, {**config, **more})


def _free_the_workers(layout: Layout) -> None:
    """Let the cluster's own pods ask for nothing on workers, as in the embedded cluster, so that lessons on scheduling
    count the same."""
    spec = {"replicas": 1, "template": {"spec": {"nodeSelector": {CONTROL_PLANE: ""}}}}
    system = ("--namespace=kube-system", "--request-timeout=20s")
    kubectl(layout, "patch", "deployment", "coredns", *system, f"--patch={json.dumps({'spec': spec})}")
    # Of a pod that names no requests a scheduler thinks that it asks for a little: these say 0.
    there = kubectl(layout, "get", "daemonsets", *system, "--output=name")
    for name in re.findall(r"kube-proxy|kindnet", there):
        kubectl(layout, "set", "resources", "daemonset", name, *system, "--requests=cpu=0,memory=0")


def _version(kubectl: Path, layout: Layout) -> str:
    command = [str(kubectl), f"--kubeconfig={layout.kubeconfig}", "version", "--output=json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["serverVersion"][
        "gitVersion"
    ]


def _wait_ready(layout: Layout) -> None:
    """Wait for every node (kind's own --wait looks at control planes only), and for the account that pods run under."""
    wanted = {spec.name for spec in node_specs.defaults()}
    deadline = time.monotonic() + READY_LIMIT
    while missing := wanted - reports.ready_nodes(layout):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{', '.join(sorted(missing))} did not become Ready within {READY_LIMIT:.0f} s: this machine may be "
                "too small or too "
                "busy; try again, and look at `docker stats` meanwhile."
            )
        time.sleep(0.5)
    kubectl(layout, "wait", "--for=create", "serviceaccount/default", "--timeout=60s")


def down(layout: Layout) -> bool:
    """Remove the cluster's containers and files. Returns whether there was anything to remove."""
    import filelock

    if not layout.marker.exists():
        return False
    check()
    with writing(layout.data, "The cluster's folder", "give yourself the right to write there"):
        with filelock.FileLock(layout.up_lock):
            _delete(layout)
        layout.up_lock.unlink(missing_ok=True)
    return True


def _delete(layout: Layout) -> None:
    if here := containers(layout.name):
        docker("rm", "--force", "--volumes", *here)
    remove_files(layout)


def stop_node(layout: Layout, name: str) -> None:
    """A node loses its power: its container is killed. Returns at once; NotReady follows within 20 s."""
    docker("kill", _container(layout, name))


def start_node(layout: Layout, name: str) -> None:
    """The power is back; returns when the node is Ready."""
    container = _container(layout, name)
    before = reports.heartbeat(layout, name)
    docker("start", container)
    deadline = time.monotonic() + READY_LIMIT
    # What the control plane says of the node may be from before it lost its power.
    while reports.heartbeat(layout, name) == before or name not in reports.ready_nodes(layout):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"Node {name} took longer than {READY_LIMIT:.0f} s to be Ready: see `k8sext logs {name}`."
            )
        time.sleep(0.5)


def _container(layout: Layout, name: str) -> str:
    names = reports.node_names(layout)
    if name not in names:
        raise ClusterError(f"There is no node {name!r}: choose one of {', '.join(names)}.")
    return config.container(layout.name, name)
