"""Pods and container runs for tests, with everything that does not matter filled in."""

from __future__ import annotations

from typing import Any

from k8sext.infra.cri.proto import api_pb2 as cri
from k8sext.infra.kubelet.runtime.cache import CREATED, EXITED, HASH, NANOSECONDS, RUNNING, PodState
from k8sext.infra.kubelet.runtime.translate import container_hash
from k8sext.kube.objects import Json

SANDBOX = "sandbox-0"


def container(name: str, **spec: Any) -> Json:
    return {"name": name, "image": "busybox", "imagePullPolicy": "IfNotPresent"} | spec


def sidecar(name: str, **spec: Any) -> Json:
    return container(name, restartPolicy="Always", **spec)


def pod(
    *containers: Json, init: tuple[Json, ...] = (), policy: str = "Always", status: Json | None = None, **spec: Any
) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "generation": 1, "resourceVersion": "1"},
        "spec": {
            "containers": list(containers or [container("main")]),
            "initContainers": list(init),
            "restartPolicy": policy,
            "terminationGracePeriodSeconds": 30,
        }
        | spec,
        "status": status or {},
    }


def run(spec: Json, state: int = RUNNING, exit_code: int = 0, attempt: int = 0) -> Any:
    """One run of a container as the runtime tells it."""
    return cri.ContainerStatus(
        id=f"{spec['name']}-{attempt}",
        metadata=cri.ContainerMetadata(name=spec["name"], attempt=attempt),
        state=state,  # type: ignore[arg-type]
        image=cri.ImageSpec(image="sha256:1", user_specified_image=spec["image"]),
        image_ref="sha256:1",
        exit_code=exit_code,
        started_at=1000 * NANOSECONDS,
        finished_at=2000 * NANOSECONDS if state == EXITED else 0,
        annotations={HASH: container_hash(spec)},
    )


def running(spec: Json, attempt: int = 0) -> Any:
    return run(spec, RUNNING, attempt=attempt)


def exited(spec: Json, code: int, attempt: int = 0) -> Any:
    return run(spec, EXITED, code, attempt)


def created(spec: Json, attempt: int = 0) -> Any:
    return run(spec, CREATED, attempt=attempt)


def state(*runs: Any, ready: bool = True) -> PodState:
    """What the runtime has: a sandbox, in it the runs, each newest first as given."""
    sandbox = cri.PodSandboxStatus(
        id=SANDBOX,
        metadata=cri.PodSandboxMetadata(name="web", uid="u1", namespace="shop"),
        state=cri.SANDBOX_READY if ready else cri.SANDBOX_NOTREADY,
        network=cri.PodSandboxNetworkStatus(ip="10.244.1.7"),
    )
    return PodState([sandbox], list(runs), {run.id: SANDBOX for run in runs})


class Health:
    """Probes that have found what the test says; without a word about a run it is started, ready and alive."""

    def __init__(
        self, *, not_started: tuple[str, ...] = (), not_ready: tuple[str, ...] = (), failed: Json | None = None
    ) -> None:
        self._not_started, self._not_ready, self._failed = not_started, not_ready, failed or {}

    def started(self, run_id: str) -> bool:
        return run_id not in self._not_started

    def ready(self, run_id: str) -> bool:
        return self.started(run_id) and run_id not in self._not_ready

    def failure(self, run_id: str) -> str:
        return self._failed.get(run_id, "")
