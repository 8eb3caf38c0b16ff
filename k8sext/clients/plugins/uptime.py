"""`kubectl uptime`: how long pods have really been up.

`kubectl get pods` shows the age of the *object*. A pod that is five days old and crashed a minute ago looks old and
healthy there.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from k8sext.clients.kubectl import Kubectl, UserError, check
from k8sext.clients.plugins import plugin
from k8sext.clients.plugins.timeline import Uptime, uptime_of
from k8sext.clients.plugins.uptime_table import as_data, table
from k8sext.kube.objects import Json

SORT: dict[str, Callable[[Uptime], object]] = {
    "name": lambda pod: (pod.namespace, pod.name),
    "up": lambda pod: pod.up if pod.up is not None else -1.0,
    "restarts": lambda pod: -pod.restarts,
    "availability": lambda pod: pod.availability if pod.availability is not None else -1.0,
}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parser() -> plugin.Parser:
    """Return the plugin's flags."""
    made = plugin.parser("uptime", "Show how long pods have really been up: since the last start of their containers.")
    made.add_argument("names", nargs="*", metavar="POD", help="these pods alone")
    made.add_argument("-A", "--all-namespaces", action="store_true", help="the pods of all namespaces")
    made.add_argument("-l", "--selector", metavar="LABELS", help="the pods with these labels")
    made.add_argument("--sort-by", choices=sorted(SORT), default="name", help="[default: name]; worst first otherwise")
    made.add_argument(
        "-o", "--output", choices=("table", "wide", "json", "yaml"), default="table", help="[default: table]"
    )
    made.add_argument("-w", "--watch", action="store_true", help="go on, and show what changes")
    made.add_argument(
        "--window", type=_duration, default=86400.0, metavar="TIME", help="availability over so long [24h]"
    )
    return made


def _duration(text: str) -> float:
    if not re.fullmatch(r"(\d+[smhd])+", text) or not (
        seconds := sum(int(n) * UNITS[u] for n, u in re.findall(r"(\d+)(\w)", text))
    ):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: write 90s, 15m, 24h or 7d")
    return float(seconds)


def main(arguments: list[str]) -> int:
    """Run the plugin: print the pods once, or for ever with --watch. Returns the exit code."""
    options = parser().parse_args(arguments)
    if options.names and options.all_namespaces:
        raise UserError("A pod's name belongs to one namespace: give -n NAME instead of --all-namespaces.")
    kubectl = plugin.kubectl_of(options)
    if options.watch:
        return _watch(kubectl, options)
    answer = kubectl.json("get", "pods", *_which(options), "--ignore-not-found=false")
    _show(answer["items"] if answer["kind"] == "List" else [answer], options)
    return 0


def _which(options: argparse.Namespace) -> list[str]:
    selector = [f"--selector={options.selector}"] if options.selector else []
    return [*options.names, *(["--all-namespaces"] if options.all_namespaces else []), *selector]


def _show(pods: list[Json], options: argparse.Namespace) -> None:
    now = time.time()
    found = sorted((uptime_of(pod, now, options.window) for pod in pods), key=SORT["name"])  # pyright: ignore[reportArgumentType,reportCallIssue]
    found.sort(key=SORT[options.sort_by])  # pyright: ignore[reportArgumentType,reportCallIssue]
    if options.output == "json":
        print(json.dumps(as_data(found), indent=2))
    elif options.output == "yaml":
        from k8sext.kube.manifest import to_yaml

        print(to_yaml(as_data(found)), end="")
    elif found:
        print(
            table(
                found,
                options.window,
                wide=options.output == "wide",
                namespaces=options.all_namespaces,
                colour=_colour(),
            )
        )
    else:
        print("No resources found.", file=sys.stderr)
    sys.stdout.flush()


def _colour() -> bool:
    import os

    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _watch(kubectl: Kubectl, options: argparse.Namespace) -> int:
    """Show all pods again whenever one of them changes; in a terminal in the same place."""
    command = kubectl.command("get", "pods", *_which(options), "--watch", "--output-watch-events", "--output=json")
    pods: dict[str, Json] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            for event in _events(iter(process.stdout.readline, "")):
                pod = event["object"]
                pods.pop(pod["metadata"]["uid"], None)
                if event["type"] != "DELETED":
                    pods[pod["metadata"]["uid"]] = pod
                if sys.stdout.isatty():
                    print("\x1b[H\x1b[2J", end="")
                _show(list(pods.values()), options)
            stderr, code = process.stderr.read(), process.wait()
            if code and not stderr:  # kubectl watched until Ctrl-C, and was faster to end than we are
                raise KeyboardInterrupt
            check(code, stderr)
            return 0
        finally:
            process.terminate()


def _events(lines: Iterator[str]) -> Iterator[Json]:
    """Split kubectl's stream into events: each is a JSON object over several lines, the last of which is `}`."""
    text = ""
    for line in lines:
        text += line
        if line.startswith("}") or (line.startswith("{") and line.rstrip().endswith("}")):
            yield json.loads(text)
            text = ""


def complete(words: list[str], kubectl: Kubectl) -> list[str]:
    """Return what may stand in the place of the last word: the names of pods."""
    return kubectl.run("get", "pods", "--output=name").replace("pod/", "").split()


def console() -> None:
    """The console script kubectl-uptime."""
    plugin.run(main)
