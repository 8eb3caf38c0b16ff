"""`python -m k8sext.infra.cri`: the CRI runtime as a server, for the nodes of a cluster or for one kubelet of your
own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8sext.infra.cri.server import Machine


def main() -> None:
    """Parse the command line and serve until SIGTERM or SIGINT. Containers go on; `k8sext.infra.cri.stop_all` ends
    them."""
    options = _options(_parser())
    os.umask(0o022)  # containers inherit it, and know nothing of who started us
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        asyncio.run(_serve(options))
    except (ValueError, OSError) as problem:
        sys.exit(f"error: {problem}")


async def _serve(options: argparse.Namespace) -> None:
    from k8sext.infra.cri.server import NodePool, NodeServer
    from k8sext.infra.cri.shimclient import ShimError

    machine = _machine(options)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    if options.nodes is not None:
        pool = asyncio.create_task(NodePool(machine, options.nodes, options.root_dir, options.socket_dir).run())
        await asyncio.wait([pool, asyncio.create_task(stopped.wait())], return_when=asyncio.FIRST_COMPLETED)
        pool.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pool  # raises what it died of
        return
    listen = Path(options.listen)
    server = NodeServer(
        machine, "node", options.root.absolute() / "node" / "cri", listen, listen.with_name(f"shim-{listen.name}"), 0
    )
    try:
        await server.start()
    except ShimError as problem:
        raise ValueError(problem) from None
    await stopped.wait()
    await server.stop()
    await machine.streaming.close()


def _machine(options: argparse.Namespace) -> Machine:
    """Pods have a network namespace of their own, or, for a kubelet that must reach them, the machine's, as containerd
    has it."""
    from k8sext.infra.cri.handlers.oci.capability_checks import namespace_flags
    from k8sext.infra.cri.handlers.oci.image_store import ImageStore
    from k8sext.infra.cri.handlers.oci.network_namespace import NetworkNamespace
    from k8sext.infra.cri.server import Machine

    flags = namespace_flags()
    if options.nodes is not None:
        images = ImageStore((options.root_dir.parent / "images").absolute())
        return Machine(options.loopback, images, NetworkNamespace(options.root_dir, options.socket_dir, flags))
    images = ImageStore((options.root / "images").absolute())
    folder = options.root if options.network == "own" else None
    namespace = NetworkNamespace(folder, Path(options.listen).parent, flags)
    return Machine(options.loopback, images, namespace, options.default_handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m k8sext.infra.cri",
        description=(
            "A CRI v1 runtime whose containers are ordinary processes: for a cluster (--nodes) or one kubelet "
            "(--listen)."
        ),
        epilog="SIGTERM ends the server and leaves the containers running; started again, it adopts them.",
    )
    parser.add_argument(
        "--nodes", type=Path, metavar="FILE", help="nodes.json: which nodes to serve; followed when it changes"
    )
    parser.add_argument(
        "--root-dir", type=Path, metavar="DIR", help="with --nodes: the state of node N stands in DIR/N/cri"
    )
    parser.add_argument(
        "--socket-dir", type=Path, metavar="DIR", help="with --nodes: sockets DIR/cri-N.sock; keep the path short"
    )
    parser.add_argument(
        "--listen", type=_socket, metavar="unix:///PATH", help="serve one kubelet (or crictl, critest) at this socket"
    )
    parser.add_argument(
        "--default-handler",
        choices=("process", "oci"),
        default="process",
        help="with --listen: the handler of pods that name none (default %(default)s)",
    )
    parser.add_argument(
        "--network",
        choices=("own", "machine"),
        default="own",
        help=(
            "with --listen: where the bridge of isolated pods hangs; foreign kubelets need the machine's (default "
            "%(default)s)"
        ),
    )
    parser.add_argument("--root", type=Path, metavar="DIR", help="with --listen: the state stands in DIR")
    parser.add_argument(
        "--loopback",
        type=_loopback,
        default="127.244",
        metavar="127.X",
        help="pods listen on 127.X.n.m (default %(default)s)",
    )
    return parser


def _options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse, and say which options belong together."""
    options = parser.parse_args()
    if (options.nodes is None) == (options.listen is None):
        parser.error("give either --nodes, --root-dir and --socket-dir or --listen and --root")
    if options.nodes is not None and (options.root_dir is None or options.socket_dir is None):
        parser.error("--nodes needs --root-dir and --socket-dir")
    if options.listen is not None and options.root is None:
        parser.error("--listen needs --root")
    return options


def _socket(text: str) -> str:
    if not text.startswith("unix:///"):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form unix:///PATH")
    return text.removeprefix("unix://")


def _loopback(text: str) -> str:
    if not re.fullmatch(r"127\.(\d{1,3})", text) or int(text.split(".")[1]) > 255:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 127.X with X from 0 to 255")
    return text


if __name__ == "__main__":
    main()
