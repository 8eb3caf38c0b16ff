"""Events about pods, and about single containers of them: what `kubectl describe pod` shows."""

from __future__ import annotations

from typing import Literal

from k8sext.infra.kubelet.pod.podspec import field_path
from k8sext.kube.events import EventRecorder
from k8sext.kube.objects import Json, reference_to


class PodEvents:
    """The kubelet's voice. Nothing waits for an event to be written."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder

    def normal(self, pod: Json, reason: str, message: str, container: Json | None = None) -> None:
        self._event(pod, "Normal", reason, message, container)

    def warning(self, pod: Json, reason: str, message: str, container: Json | None = None) -> None:
        self._event(pod, "Warning", reason, message, container)

    def _event(
        self, pod: Json, type: Literal["Normal", "Warning"], reason: str, message: str, container: Json | None
    ) -> None:
        part = field_path(pod, container) if container else ""
        self._recorder.event(reference_to(pod, part), type, reason, message)
