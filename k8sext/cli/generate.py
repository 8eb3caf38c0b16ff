"""`k8sext generate client`: the command line of the generator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Write code: a typed client from the OpenAPI of a running server.", no_args_is_help=True)


@app.callback()
def generate() -> None:
    """Write code: a typed client from the OpenAPI of a running server."""


@app.command()
def client(
    group: Annotated[str, typer.Option(help="The group, as apps or k8s.packt.com; core for the group of pods.")],
    out: Annotated[Path, typer.Option(help="The folder to write, new or from an earlier run.")],
    from_cluster: Annotated[bool, typer.Option("--from-cluster", help="Ask the API server.")] = False,
    from_file: Annotated[Path | None, typer.Option(help="Read a saved document of /openapi/v3.")] = None,
    version: Annotated[str | None, typer.Option(help="The version (default: the best there is).")] = None,
    kubeconfig: Annotated[str | None, typer.Option(help="The kubeconfig to use, as kubectl has it.")] = None,
    context: Annotated[str | None, typer.Option(help="The context to use, as kubectl has it.")] = None,
) -> None:
    """Write a typed Python package for one version of one API group."""
    from k8sext.clients.generate import generate, openapi
    from k8sext.clients.kubectl import Kubectl, UserError

    if from_cluster == (from_file is not None):
        print("Error: Give either --from-cluster or --from-file FILE.", file=sys.stderr)
        raise typer.Exit(2)
    flags = [f"--{name}={value}" for name, value in (("kubeconfig", kubeconfig), ("context", context)) if value]
    try:
        if from_file is not None:
            document = openapi.from_file(from_file, group, version)
        else:
            document = openapi.from_cluster(Kubectl(tuple(flags)), group, version)
        written = generate(document, out)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    print(f"Wrote a client for {document.api_version}: {len(written)} files in {out}.")
