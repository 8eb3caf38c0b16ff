"""`python -m k8sext.infra.kubelet`: the kubelet of all nodes of an embedded cluster."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m k8sext.infra.kubelet", description="Run the kubelet of every node in a file."
    )
    parser.add_argument(
        "--nodes",
        type=Path,
        required=True,
        metavar="FILE",
        help="the wanted nodes (nodes.json); followed while it changes",
    )
    parser.add_argument(
        "--root-dir",
        type=Path,
        required=True,
        metavar="DIR",
        help="holds a folder for each node, with its kubeconfig and certificate",
    )
    parser.add_argument(
        "--socket-dir", type=Path, required=True, metavar="DIR", help="holds the runtimes' sockets, cri-NODE.sock"
    )
    parser.add_argument("--loopback", required=True, metavar="127.X", help="the loopback block that stands for 10.244")
    parser.add_argument(
        "--client-ca-file", type=Path, required=True, metavar="FILE", help="signs the API server's client certificate"
    )
    parser.add_argument(
        "--runtime-endpoint", default="", metavar="unix:///PATH", help="another CRI runtime, for a file with one node"
    )
    parser.add_argument(
        "--crash-loop-base",
        type=float,
        default=10,
        metavar="SECONDS",
        help="first wait of CrashLoopBackOff (default: %(default)s, as in Kubernetes)",
    )
    parser.add_argument(
        "--crash-loop-limit",
        type=float,
        default=300,
        metavar="SECONDS",
        help="longest wait (default: %(default)s, as in Kubernetes)",
    )
    parser.add_argument(
        "--sync-frequency",
        type=float,
        default=60,
        metavar="SECONDS",
        help="how often volumes follow their source (default: %(default)s, as in Kubernetes)",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    options = parser.parse_args()
    level = logging.DEBUG if options.verbose else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> None:
    from k8sext.kube.slim import leave_out_synchronous_half

    leave_out_synchronous_half()
    from k8sext.infra.kubelet.context import Settings
    from k8sext.infra.kubelet.fleet import Fleet, run_fleet

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    settings = Settings(options.sync_frequency, options.crash_loop_base, options.crash_loop_limit)
    await run_fleet(
        Fleet(
            nodes_file=options.nodes,
            root=options.root_dir.absolute(),
            socket_dir=options.socket_dir.absolute(),
            loopback=options.loopback,
            client_ca=options.client_ca_file,
            settings=settings,
            runtime_endpoint=options.runtime_endpoint,
        )
    )


if __name__ == "__main__":
    main()
