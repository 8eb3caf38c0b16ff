"""The last lines of a container that failed: they become its termination message, when its spec asks for that."""

from __future__ import annotations

from pathlib import Path

from k8sext.infra.kubelet import pod as pods
from k8sext.infra.kubelet.logs import tail
from k8sext.infra.kubelet.pod import Json
from k8sext.infra.kubelet.runtime import EXITED, PodState

LINES, BYTES = 80, 2048


def last_words(pod: Json, state: PodState) -> dict[str, str]:
    """For each failed run of a container with FallbackToLogsOnError the end of its log, by the id of the run."""
    talkative = {
        c["name"] for c in pods.all_containers(pod) if c.get("terminationMessagePolicy") == "FallbackToLogsOnError"
    }
    return {
        run.id: tail(Path(run.log_path), LINES).decode(errors="replace")[-BYTES:]
        for run in state.containers
        if run.state == EXITED and run.exit_code and run.metadata.name in talkative and Path(run.log_path).is_file()
    }
