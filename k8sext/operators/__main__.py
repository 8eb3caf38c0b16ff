"""Run the weather controller: `python -m k8sext.operators`, in a pod or with --kubeconfig on your machine.

SIGTERM and Ctrl-C end it in good order: work in hand is done, events are written, the lease is given back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import uuid
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from k8sext.kube.connect import ConnectError, from_kubeconfig, in_cluster, service_account_dir
from k8sext.kube.election import LEASE_DURATION, LeadershipLost, lead
from k8sext.kube.events import EventRecorder
from k8sext.kube.metrics import ControllerMetrics
from k8sext.kube.serve import bind_address, host_name, serving
from k8sext.operators.controller import Controller

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

log = logging.getLogger("k8sext.operators")
NAME = "k8s-operator-example"


def arguments(words: list[str]) -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(prog="python -m k8sext.operators", description="The weather controller.")
    parser.add_argument("--kubeconfig", type=Path, help="where the API server is [default: this pod's own]")
    parser.add_argument("--context", help="a context of that kubeconfig [default: its current one]")
    parser.add_argument("--namespace", help="look after this namespace only; '*' for all [default: this pod's own]")
    parser.add_argument("--workers", type=int, default=16, help="reports looked at side by side [default: 16]")
    parser.add_argument(
        "--port", type=int, default=8080, help="of /healthz, /readyz, /metrics; 0 for a free one, -1 for none"
    )
    parser.add_argument("--leader-elect", action="store_true", help="of several copies, let only one work")
    parser.add_argument(
        "--lease-duration",
        type=int,
        default=LEASE_DURATION,
        help="seconds until another copy may take over [default: 15]",
    )
    parser.add_argument("--no-events", action="store_true", help="write no events about reports")
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING"))
    found = parser.parse_args(words)
    if found.workers < 1:
        parser.error("--workers must be at least 1.")
    if found.lease_duration < 6:
        parser.error("--lease-duration must be at least 6 seconds.")
    if found.kubeconfig and not found.namespace:
        parser.error("--kubeconfig needs --namespace: say which namespace to look after, or '*' for all.")
    return found


async def run(options: Namespace) -> None:
    """Connect, serve probes and metrics, and work until a signal. Raises ConnectError, OSError, LeadershipLost."""
    namespace = "" if options.namespace == "*" else options.namespace or own_namespace()
    metrics = ControllerMetrics("weatherreport")
    async with connected(options) as client, EventRecorder(client, NAME, host_name()) as recorder:
        controller = Controller(client, namespace, recorder=None if options.no_events else recorder, metrics=metrics)

        async def work() -> None:
            metrics.leads(NAME, True)
            log.info("looking after %s", f"namespace {namespace}" if namespace else "all namespaces")
            await controller.run(options.workers)

        def ready() -> bool:
            return controller.synced or options.leader_elect  # a follower is well, and waits

        async with contextlib.AsyncExitStack() as stack:
            if options.port >= 0:
                port = await stack.enter_async_context(serving(options.port, ready=ready, metrics=metrics.text))
                log.info("serving probes and metrics at http://%s:%d", bind_address(), port)
            task = asyncio.create_task(_elected(client, work, options, namespace) if options.leader_elect else work())
            _on_signal(controller, task)
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _elected(client: ApiClient, work: Callable[[], Awaitable[None]], options: Namespace, namespace: str) -> None:
    duration = options.lease_duration
    await lead(
        client,
        work,
        name=NAME,
        namespace=namespace or "default",
        identity=f"{host_name()}_{uuid.uuid4().hex[:8]}",
        lease_duration=duration,
        renew_deadline=duration * 2 // 3,
        retry_period=max(1, duration // 7),
    )


def _on_signal(controller: Controller, task: asyncio.Task[None]) -> None:
    """The first signal lets the work in hand end, if there is any yet; the second ends at once."""

    def stop() -> None:
        if controller.queue.closed or not controller.synced:
            task.cancel()
        controller.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


@asynccontextmanager
async def connected(options: Namespace) -> AsyncGenerator[ApiClient]:
    """A client as the command line asks for it, closed at the end."""
    kubeconfig = options.kubeconfig
    client = await (from_kubeconfig(kubeconfig, options.context) if kubeconfig else in_cluster())
    try:
        yield client
    finally:
        await client.close()


def own_namespace() -> str:
    """The namespace of the pod this runs in. Raises ConnectError outside a pod."""
    try:
        return (service_account_dir() / "namespace").read_text().strip()
    except OSError as error:
        raise ConnectError("this program does not run in a pod: give --kubeconfig and --namespace") from error


def main(words: list[str]) -> int:
    """Run and return the exit code."""
    options = arguments(words)
    logging.basicConfig(level=options.log_level, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    try:
        asyncio.run(run(options))
    except LeadershipLost as error:
        print(f"{error}; ending, to begin again as a follower.", file=sys.stderr)
        return 1
    except (ConnectError, OSError) as error:
        print(f"Error: {error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
