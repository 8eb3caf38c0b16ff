"""`k8sext new operator`: begin an operator of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

new = typer.Typer(help="Begin something of your own: an operator.", no_args_is_help=True)


@new.callback()
def _group() -> None:
    """Keep `operator` a subcommand, also while it is the only one."""


@new.command("operator")
def new_operator(
    name: Annotated[str, typer.Argument(help="The operator's name, and that of the new folder.")],
    api_version: Annotated[str, typer.Option(help="GROUP/VERSION of the kind it looks after.")],
    kind: Annotated[str, typer.Option(help="That kind, like WeatherReport.")],
    folder: Annotated[Path, typer.Option(help="Where the new folder goes.")] = Path(),
) -> None:
    """Write a project for an operator: types, handler, manifests, Dockerfile and test."""
    from k8sext.operators import scaffold

    try:
        files = scaffold.write(scaffold.project(name, api_version, kind), folder)
    except scaffold.ScaffoldError as error:
        raise typer.BadParameter(str(error)) from error
    for file in files:
        print(f"wrote {file}")
