"""`python -m k8sext.infra.csi`: the driver of one node, and beside it the provisioner of its volumes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

log = logging.getLogger("k8sext.infra.csi")


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m k8sext.infra.csi", description="The CSI driver csi.k8sext.dev: folders of one node."
    )
    parser.add_argument(
        "--endpoint",
        required=True,
        metavar="unix:///PATH",
        help="where to listen; in a kubelet's plugins_registry it registers itself",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="keeps volumes and snapshots")
    parser.add_argument(
        "--node", default=os.environ.get("NODE_NAME"), metavar="NAME", help="this node [default: $NODE_NAME]"
    )
    parser.add_argument(
        "--publish",
        choices=("link", "bind"),
        default="link",
        help="how volumes come to pods: links want no privilege, bind mounts do [default: link]",
    )
    parser.add_argument(
        "--provision",
        action="store_true",
        help="make volumes for the claims of this node's pods, as this pod's service account may",
    )
    parser.add_argument(
        "--kubeconfig", type=Path, metavar="FILE", help="with --provision: the API server [default: this pod's own]"
    )
    parser.add_argument("--port", type=int, default=-1, help="of /healthz and /readyz [default: none]")
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING"))
    found = parser.parse_args(words)
    if not found.endpoint.startswith("unix:///"):
        parser.error("--endpoint must begin with unix:/// and name a socket.")
    if not found.node:
        parser.error("name this node with --node, or in the environment as NODE_NAME.")
    return found


async def run(options: argparse.Namespace) -> None:
    """Serve until cancelled. Raises ValueError, OSError, ConnectError when the driver cannot begin."""
    from k8sext.kube.connect import leave_out_synchronous_half

    leave_out_synchronous_half()
    # All is loaded before the socket is there: that takes a while, and nobody would answer meanwhile.
    from k8sext.infra.csi.provisioner import connected
    from k8sext.infra.csi.publish import BindMounts, Links
    from k8sext.infra.csi.server import serving
    from k8sext.infra.csi.state import Store

    publisher = BindMounts() if options.publish == "bind" else Links()
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(contextlib.closing(Store(options.data)))
        socket = Path(options.endpoint.removeprefix("unix://"))
        await stack.enter_async_context(serving(socket, store, publisher, options.node))
        log.info("serving CSI at %s, volumes in %s", options.endpoint, store.root)
        print(f"ready for volumes of node {options.node}", flush=True)
        if options.provision:
            provisioner = await stack.enter_async_context(connected(options.node, options.endpoint, options.kubeconfig))
            await stack.enter_async_context(probes(options.port, lambda: provisioner.synced))
            await provisioner.run()
        else:
            await stack.enter_async_context(probes(options.port, lambda: True))
            await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def probes(port: int, ready: Callable[[], bool]) -> AsyncIterator[None]:
    """Answer a kubelet's probes for the length of a block, if a port is named."""
    if port < 0:
        yield
        return
    from k8sext.kube.serve import serving

    async with serving(port, ready=ready, metrics=lambda: b""):
        yield


async def _until_signal(options: argparse.Namespace) -> None:
    task = asyncio.create_task(run(options))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main() -> None:
    """Run the driver; one sentence and code 1 when it cannot begin."""
    options = arguments()
    logging.basicConfig(level=options.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from k8sext.kube.connect import ConnectError

    try:
        asyncio.run(_until_signal(options))
    except (ValueError, OSError, ConnectError) as error:
        sys.exit(f"The driver cannot run: {error}")


if __name__ == "__main__":
    main()
