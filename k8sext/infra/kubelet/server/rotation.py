"""Log rotation: rename a log that has grown too large, and have the runtime open a new one."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from k8sext.infra.kubelet.runtime.cache import RUNNING
from k8sext.infra.kubelet.runtime.client import RuntimeClient, RuntimeFailure

log = logging.getLogger(__name__)

LARGEST_BYTES = 10 * 1024 * 1024
KEPT_FILES = 5
CHECK_SECONDS = 10.0


async def rotate_logs(runtime: RuntimeClient, pod_logs: Path, work: asyncio.Event) -> None:
    """Look after the logs every few seconds while there is work. Runs until cancelled."""
    while True:
        await work.wait()
        await asyncio.sleep(CHECK_SECONDS)
        for path in pod_logs.glob("*/*/*.log"):
            if path.stat().st_size > LARGEST_BYTES:
                await rotate(runtime, path)


async def rotate(runtime: RuntimeClient, path: Path) -> None:
    """Rotate one log: path.<time> holds the old lines, the oldest file beyond the kept ones is dropped."""
    for container in await runtime.list_containers():
        if container.state != RUNNING or Path((await runtime.container_status(container.id)).log_path) != path:
            continue
        old = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}")
        path.rename(old)
        try:
            await runtime.reopen_container_log(container.id)
        except RuntimeFailure as error:
            log.warning("rotating %s: %s", path, error.message)
            old.rename(path)
    for extra in sorted(path.parent.glob(f"{path.name}.*"))[: -(KEPT_FILES - 1)]:
        extra.unlink()
