"""`python -m k8sext.infra.kubelet`: the kubelet of all nodes of an embedded cluster."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m k8sext.infra.kubelet", description="Run the kubelet of every node in a file."
    )
    option = parser.add_argument
    folder = {"type": lambda text: Path(text).absolute(), "required": True, "metavar": "DIR"}
    file = {"type": Path, "required": True, "metavar": "FILE"}
    seconds = {"type": float, "metavar": "SECONDS"}
    as_usual = "(default: %(default)s, as in Kubernetes)"
    option("--nodes", **file, help="the wanted nodes (nodes.json); followed while it changes")
    option("--root-dir", **folder, help="holds a folder for each node, with its kubeconfig and certificate")
    option("--socket-dir", **folder, help="holds the runtimes' sockets, cri-NODE.sock")
    option("--loopback", required=True, metavar="127.X", help="the loopback block that stands for the pod network")
    option("--client-ca-file", **file, help="signs the API server's client certificate")
    option("--runtime-endpoint", default="", metavar="unix:///PATH", help="another runtime, for a file with one node")
    option("--crash-loop-base", **seconds, default=10, help=f"first wait of CrashLoopBackOff {as_usual}")
    option("--crash-loop-limit", **seconds, default=300, help=f"longest wait {as_usual}")
    option("--sync-frequency", **seconds, default=60, help=f"how often volumes follow their source {as_usual}")
    option("-v", "--verbose", action="store_true", help="log more")
    options = vars(parser.parse_args())
    level = logging.DEBUG if options.pop("verbose") else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        os.umask(0o022)  # volumes are read by other users than ours
        asyncio.run(_run(options))


async def _run(options: dict[str, object]) -> None:
    from k8sext.kube.connect import leave_out_synchronous_half

    leave_out_synchronous_half()
    from k8sext.infra.kubelet.config import Config
    from k8sext.infra.kubelet.run_nodes import run_nodes

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await run_nodes(Config(**options))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
