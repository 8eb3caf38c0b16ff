"""`python -m k8sext.admission.initializers run|proxy ...`: initializers of a module or a file; and the proxy."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import threading
from pathlib import Path

from k8sext.admission.command_line import answer, found_in
from k8sext.admission.initializers.controller import Initializer, run


def main(arguments: list[str]) -> int:
    """Answer one command line; returns the exit code."""
    return answer(_parser(), arguments)


async def _initialize(options: argparse.Namespace) -> None:
    from k8sext.kube.connect import from_kubeconfig, in_cluster
    from k8sext.kube.serve import serving

    initializers = found_in(options.target, Initializer, "initializer: decorate a function with @initializer")
    client = await (from_kubeconfig(options.kubeconfig) if options.kubeconfig else in_cluster())
    ready = asyncio.Event()
    work = asyncio.ensure_future(run(client, initializers, options.namespace, ready.set))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    try:
        async with serving(options.port, ready=ready.is_set, metrics=lambda: b"") as port:
            names = ", ".join(found.name for found in initializers)
            logging.info("initializing %s; probes are answered on port %d", names, port)
            await asyncio.gather(work, return_exceptions=True)
        if not work.cancelled():
            work.result()
    finally:
        await client.close()


def _run(options: argparse.Namespace) -> None:
    asyncio.run(_initialize(options))


def _proxy(options: argparse.Namespace) -> None:
    from k8sext.admission.initializers.serving import start_proxy

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with start_proxy(options.kubeconfig, options.wait, port=options.port) as proxy:
        options.write.write_text(proxy.kubeconfig().read_text())
        usage = f"kubectl --kubeconfig={options.write} --token=..."
        print(f"{proxy.address} stands before the API server; {usage}", flush=True)
        stopped.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m k8sext.admission.initializers", description="initializers, as Kubernetes 1.9 had them"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    running = commands.add_parser("run", help="initialize what is pending")
    running.set_defaults(command=_run)
    running.add_argument("target", help="a module with initializers, or a file that ends in .py")
    running.add_argument("--namespace", action="append", default=[], help="only there; may be given again")
    running.add_argument("--port", type=int, default=0, help="for the probes of a kubelet; default: a free one")
    running.add_argument("--kubeconfig", type=Path, help="default: the service account of the pod this runs in")
    proxy = commands.add_parser("proxy", help="hide what is not initialized, and let creations wait")
    proxy.set_defaults(command=_proxy)
    kubeconfig = "names the API server; its credentials are not used"
    proxy.add_argument("--kubeconfig", type=Path, required=True, help=kubeconfig)
    proxy.add_argument("--write", type=Path, required=True, help="a kubeconfig for clients of the proxy, to be written")
    proxy.add_argument("--port", type=int, default=0, help="default: a free one")
    proxy.add_argument("--wait", type=float, default=30.0, help="for how many seconds a creation waits [default: 30]")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
