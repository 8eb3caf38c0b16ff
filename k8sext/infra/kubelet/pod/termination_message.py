"""The termination message: what a container writes to its terminationMessagePath before it ends, for its status.

A file beside the container's log is mounted there. When it stays empty, a container that failed and asks for it
(FallbackToLogsOnError) gets the end of its log instead. Source: "Customizing the termination message" in the Kubernetes
documentation, and getTerminationMessage in pkg/kubelet/kuberuntime/kuberuntime_container.go.
"""

from __future__ import annotations

from pathlib import Path

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.pod.podspec import has_mount_at
from k8sext.infra.kubelet.runtime.cache import EXITED, PodState
from k8sext.infra.kubelet.server.logs import tail
from k8sext.kube.objects import Json
from k8sext.kube.pod import all_containers

LONGEST = 4096
LINES, BYTES = 80, 2048
"""Of a log, at most."""


def message_file(log: Path) -> Path:
    """Where the message of a run stands, by the path of its log."""
    return log.with_suffix(".message")


def message_mounts(container: Json, log: Path) -> list[cri.Mount]:
    """Make the file, and return how it comes into the container; nothing if a volume stands at its place.

    Raises OSError.
    """
    place = "/" + container.get("terminationMessagePath", "/dev/termination-log").lstrip("/")
    if has_mount_at(container, place):
        return []
    file = message_file(log)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    file.chmod(0o666)  # whoever the container runs as writes there
    return [cri.Mount(container_path=place, host_path=str(file))]


def termination_messages(pod: Json, state: PodState) -> dict[str, str]:
    """The message of each run that has ended and left one, by the id of the run."""
    asking = {c["name"] for c in all_containers(pod) if c.get("terminationMessagePolicy") == "FallbackToLogsOnError"}
    messages = {
        run.id: _message(Path(run.log_path), bool(run.exit_code) and run.metadata.name in asking)
        for run in state.containers
        if run.state == EXITED and run.log_path
    }
    return {run: message for run, message in messages.items() if message}


def _message(log: Path, or_log: bool) -> str:
    try:
        with message_file(log).open("rb") as file:
            written = file.read(LONGEST)
    except FileNotFoundError:
        written = b""
    except OSError as error:
        return f"Error on reading termination log {message_file(log)}: {error}"
    if not written and or_log and log.is_file():
        written = tail(log, LINES)[-BYTES:]
    return written.decode(errors="replace")
