"""`python -m k8sext.scheduling`: run a scheduler, in a pod or on a kubeconfig."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

from k8sext.kube import connect
from k8sext.kube.election import LeadershipLost, lead
from k8sext.kube.serve import host_name, serving
from k8sext.scheduling.profiles import FILTER_NAMES, KUBE, SCORE_NAMES, SCORING_STRATEGIES, Profile, choose


def arguments(words: list[str]) -> argparse.Namespace:
    """Read the command line. Exits with code 2 and one sentence when it makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m k8sext.scheduling", description=__doc__)
    parser.add_argument(
        "--name", default="packt-scheduler", help="the schedulerName that pods ask for [default: %(default)s]"
    )
    parser.add_argument("--filters", default="all", help=f"all, none, or a list of: {', '.join(FILTER_NAMES)}")
    parser.add_argument(
        "--scores",
        default="none",
        help=f"none (a random choice), all, or a list of NAME=WEIGHT: {', '.join(SCORE_NAMES)}",
    )
    parser.add_argument(
        "--scoring-strategy",
        default="LeastAllocated",
        help=f"how NodeResourcesFit rates a node: {', '.join(SCORING_STRATEGIES)} [default: %(default)s]",
    )
    parser.add_argument("--seed", type=int, help="make the random choices repeat")
    parser.add_argument("--kubeconfig", type=Path, help="[default: the service account of the pod it runs in]")
    parser.add_argument("--leader-elect", action="store_true", help="of several copies, let one work")
    parser.add_argument(
        "--namespace", default="kube-system", help="where the Lease of the election is [default: %(default)s]"
    )
    parser.add_argument("--bindings", type=int, default=16, help="bindings under way at once [default: %(default)s]")
    parser.add_argument("--metrics-port", type=int, default=10259, help="a free one if 0 [default: %(default)s]")
    options = parser.parse_args(words)
    try:
        options.profile = profile(options.filters, options.scores, options.scoring_strategy)
    except ValueError as error:
        parser.error(str(error))
    if options.bindings < 1:
        parser.error("--bindings must be at least 1")
    return options


def profile(filters: str, scores: str, scoring_strategy: str) -> Profile:
    """Make a profile of what stands on the command line. Raises ValueError."""
    names = {"all": list(FILTER_NAMES), "none": []}.get(filters, filters.split(","))
    if scores == "all":
        usual = {plugin.name: plugin.weight for plugin in (*KUBE.scores, *KUBE.pre_scores)}
        return choose(names, usual, scoring_strategy)
    weights: dict[str, int] = {}
    for word in [] if scores == "none" else scores.split(","):
        name, _, weight = word.partition("=")
        if not (weight or "1").isdecimal():
            raise ValueError(f"{word!r} is no score: write NAME=WEIGHT with a whole number")
        weights[name] = int(weight or "1")
    return choose(names, weights, scoring_strategy)


async def run(options: argparse.Namespace) -> None:
    """Run until SIGTERM or Ctrl-C. Raises ConnectError, LeadershipLost, OSError when the port is taken."""
    from k8sext.scheduling.scheduler import Scheduler

    client = await (connect.from_kubeconfig(options.kubeconfig) if options.kubeconfig else connect.in_cluster())
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        scheduler = Scheduler(
            client, options.name, options.profile, seed=options.seed, bindings=options.bindings, say=_say
        )
        print(f"Starting scheduler: {options.name}", flush=True)
        # who waits for its turn to lead is ready too: there is nothing it could serve before
        await stack.enter_async_context(
            serving(
                options.metrics_port,
                ready=lambda: scheduler.ready or options.leader_elect,
                metrics=scheduler.metrics.text,
            )
        )
        if options.leader_elect:
            identity = f"{host_name()}-{os.getpid()}"
            await lead(client, scheduler.run, name=options.name, namespace=options.namespace, identity=identity)
        else:
            await scheduler.run()


def _say(line: str) -> None:
    print(line, flush=True)


def main(words: list[str]) -> int:
    """Run the scheduler and return the exit code."""
    options = arguments(words)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")

    async def until_stopped() -> None:
        task = asyncio.ensure_future(run(options))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    try:
        asyncio.run(until_stopped())
    except (connect.ConnectError, LeadershipLost, OSError) as error:
        print(f"{options.name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
