"""The command `k8sext`: a cluster for the workbook, up and down, and JupyterLab on it.

Exit codes: 0 done, 1 an error said in one sentence, 2 wrong usage, 3 `status` of a cluster that is down, 130 Ctrl-C.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from k8sext import __version__, cluster
from k8sext.cli.generate import app as generate
from k8sext.cli.image import app as image
from k8sext.cli.new import new
from k8sext.cli.node import Data, Name, find
from k8sext.cli.node import app as node
from k8sext.cluster.errors import ClusterError
from k8sext.cluster.paths import layout, state_folder

app = typer.Typer(
    name="k8sext",
    help="A real Kubernetes for the workbook that teaches how to extend it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Output(StrEnum):
    """How an answer is printed."""

    table = "table"
    json = "json"


Format = Annotated[Output, typer.Option("--output", "-o", help="How to print the answer.")]


@app.command()
def up(
    name: Name = None,
    data: Data = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The API server's port (default: a free one).")
    ] = None,
    fake: Annotated[
        int | None,
        typer.Option("--nodes", min=0, max=5000, help="So many nodes more, which only register: taint k8sext.io/fake."),
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="embedded, kind or existing (default: $K8SEXT_PROVIDER; embedded on Linux).")
    ] = None,
    context: Annotated[
        str | None, typer.Option(help="With --provider existing: the kubeconfig's context (default: $K8SEXT_CONTEXT).")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="With --provider existing: the kubeconfig (default: kubectl's own).")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --provider existing: agree to what will be made there.")
    ] = False,
) -> None:
    """Start the cluster, or find it running."""
    from k8sext.cluster.programs.progress import for_terminal

    found = cluster.up(
        name,
        data,
        port=port,
        fake_nodes=fake,
        provider=provider,
        progress=for_terminal(),
        context=context,
        kubeconfig=kubeconfig,
        consent=lambda plan: _agreed(plan, yes),
    )
    print(
        f"The cluster {found.name} is up at {found.server}."
        if found.started_here
        else f"The cluster {found.name} is up already."
    )
    config, programs = shlex.quote(str(found.kubeconfig)), shlex.quote(str(found.programs["kubectl"].parent))
    print(f"Use it with: export KUBECONFIG={config} PATH={programs}:$PATH")


def _agreed(plan: str, yes: bool) -> bool:
    """Show the plan; ask where there is somebody to answer."""
    print(plan, flush=True)
    return yes or (sys.stdin is not None and sys.stdin.isatty() and typer.confirm("Go on?"))


@app.command()
def down(name: Name = None, data: Data = None) -> None:
    """Stop the cluster and remove its files."""
    where = layout(name, data)
    gone = cluster.down(where)
    print(f"The cluster {where.name} is down." if gone else f"There is no cluster {where.name}.")


@app.command()
def status(name: Name = None, data: Data = None, output: Format = Output.table) -> None:
    """Show the cluster's programs: version, process, port, memory, health."""
    found = cluster.status(layout(name, data))
    if output is Output.json:
        print(json.dumps(found, indent=2))
    elif found["phase"] == "down":
        print(f"The cluster {found['name']} is down. Start it with: k8sext up" + (f" --name {name}" if name else ""))
    else:
        print(
            f"The cluster {found['name']} ({found['phase']}) answers at {found['server']}; its files are in "
            f"{found['data']}."
        )
        _print_components(found["components"])
    if found["phase"] != "ready":
        raise typer.Exit(3)
    if any(component["health"] != "ok" for component in found["components"]):
        raise typer.Exit(1)


def _print_components(components: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("component", "version", "pid", "port", "memory", "health", "restarts", box=None, pad_edge=False)
    for c in components:
        memory = f"{c['memory'] / 1e6:.0f} MB" if c["memory"] else "-"
        table.add_row(
            c["name"],
            c["version"],
            str(c["pid"] or "-"),
            str(c["port"] or "-"),
            memory,
            c["health"],
            str(c["restarts"]),
        )
    Console(width=None if sys.stdout.isatty() else 200).print(table)


@app.command("list")
def list_clusters(output: Format = Output.table) -> None:
    """List the clusters of this user (those in folders of their own are not known here)."""
    folders = sorted((state_folder() / "clusters").glob("*/cluster.json"))
    found = [cluster.status(layout(folder.parent.name, folder.parent)) for folder in folders]
    if output is Output.json:
        print(json.dumps(found, indent=2))
    for entry in found if output is Output.table else ():
        print(f"{entry['name']:20} {entry['phase']:10} {entry['server'] or ''}")
    if not found and output is Output.table:
        print("There is no cluster. Start one with: k8sext up")


@app.command()
def kubeconfig(name: Name = None, data: Data = None) -> None:
    """Print the path of the cluster's kubeconfig, for `export KUBECONFIG=$(k8sext kubeconfig)`."""
    print(find(name, data).kubeconfig)


@app.command()
def logs(
    component: Annotated[str, typer.Argument(help="As `k8sext status` names it; also: supervisor.")],
    name: Name = None,
    data: Data = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows.")] = False,
    tail: Annotated[int, typer.Option(help="So many last lines; -1 for all.")] = -1,
) -> None:
    """Print the log of a component."""
    command = cluster.log_command(find(name, data), component, follow, tail)
    sys.stdout.flush()
    os.execvp(command[0], command)


@app.command()
def doctor(output: Format = Output.table) -> None:
    """Say what this machine can do, and what to install for more."""
    from k8sext.cluster.doctor import examine

    findings = examine()
    if output is Output.json:
        print(json.dumps([finding.__dict__ for finding in findings], indent=2))
    for finding in findings if output is Output.table else ():
        print(f"{finding.verdict:8} {finding.what}: {finding.sentence}")
    if any(finding.verdict == "missing" for finding in findings):
        raise typer.Exit(1)


@app.command()
def lab(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="A folder with notebooks, or one to copy the workbook's to; what you changed in it stays as it is "
            "(default: your own copy, in work/ of a checkout or ~/k8sext-workbook)."
        ),
    ] = None,
    name: Name = None,
    data: Data = None,
    port: Annotated[int | None, typer.Option(help="JupyterLab's port (default: 8888, or the next free one).")] = None,
    browser: Annotated[bool | None, typer.Option(help="Open a browser (default: if there is a display).")] = None,
) -> None:
    """Start the cluster and JupyterLab on the notebooks; Ctrl-C ends both (a cluster that was up before stays up)."""
    from k8sext.lab import serve

    raise typer.Exit(serve(folder, name, data, port, browser))


@app.command()
def reset(
    notebooks: Annotated[list[str] | None, typer.Argument(help="Beginnings of their names, as 05.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All notebooks and manifests.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Your copy (default: as `k8sext lab`).")] = None,
) -> None:
    """Put notebooks of your copy back as they were, and keep what you had in the folder `kept`."""
    from k8sext import course

    if bool(notebooks) == everything:
        raise cluster.ClusterError("Name the notebooks to put back, as 05, or give --all.")
    where = folder or course.own_copy()
    done = course.reset(where, notebooks or ())
    print(f"{len(done)} files put back in {where}{'; what you had is in the folder kept' if done else ''}.")


@app.command()
def progress(
    reset: Annotated[bool, typer.Option("--reset", help="Forget which exercises are solved.")] = False,
    output: Format = Output.table,
) -> None:
    """Show which exercises of the notebooks you have solved. It is kept on this machine only."""
    from k8sext.notebook.exercises import progress as kept

    if reset:
        kept.reset()
    found = kept.overview()
    print(json.dumps(found, indent=2) if output is Output.json else kept.table(found))


@app.command()
def version(output: Format = Output.table) -> None:
    """Print the versions of the workbook and of its Kubernetes."""
    from k8sext.versions import ETCD, KUBERNETES

    versions = {"k8sext": __version__, "kubernetes": KUBERNETES, "etcd": ETCD}
    print(
        json.dumps(versions)
        if output is Output.json
        else "\n".join(f"{key} {value}" for key, value in versions.items())
    )


app.add_typer(node, name="node")
app.add_typer(new, name="new")
app.add_typer(generate, name="generate")
app.add_typer(image, name="image")


def main() -> None:
    """Run the command line; errors are one sentence on stderr."""
    sys.stdout = sys.stdout or io.StringIO()  # closed by the caller, as in `k8sext up >&-`
    sys.stderr = sys.stderr or io.StringIO()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _as_keyboard_interrupt)
    try:
        app()
    except ClusterError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        print(f"Error: {error.filename or 'the system'}: {error.strerror or error}.", file=sys.stderr)
        sys.exit(1)


def _as_keyboard_interrupt(*_: object) -> None:
    """SIGTERM and the terminal's end stop what is under way as Ctrl-C does, so that nothing half started is left."""
    raise KeyboardInterrupt
