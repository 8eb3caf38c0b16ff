"""Let a server of the workbook tell every call that it gets: `python -m k8sext.notebook.calls [--to FILE] MODULE ...`.

It runs the module as `python -m MODULE ...` would, and writes a line for each gRPC method that somebody calls and each
CNI plugin that the module starts, in the order in which they begin. `read` takes such lines apart for a figure.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import runpy
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import grpc
import grpc.aio

MARK = "call "


class Call(NamedTuple):
    """One call: the service, without its package (`RuntimeService`, `CNI`), and the method."""

    service: str
    method: str


def read(lines: Iterable[str], *, without: Iterable[str] = ()) -> list[Call]:
    """Return the calls among the lines of a log, each where it came first; those are left out that begin with a word of
    `without`."""
    paths = (line.removeprefix(MARK).strip() for line in lines if line.startswith(MARK))
    calls = [Call(path.split("/")[-2].rpartition(".")[2], path.rpartition("/")[2]) for path in dict.fromkeys(paths)]
    return [call for call in calls if not call.method.startswith(tuple(without))]


class TellCalls(grpc.aio.ServerInterceptor):
    """Writes down a method before it is carried out."""

    def __init__(self, to: TextIO) -> None:
        self._to = to

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Tell, and go on."""
        tell(handler_call_details.method, self._to)
        return await continuation(handler_call_details)


def tell(path: str, to: TextIO) -> None:
    """Write a line at once: who reads it may be waiting for it."""
    print(f"{MARK}{path}", file=to, flush=True)


def listen_in(to: TextIO) -> None:
    """Have every gRPC server that is made from now on tell its calls, and every CNI plugin that is started be told."""
    serve, start = grpc.aio.server, asyncio.create_subprocess_exec

    @functools.wraps(serve)
    def telling_server(*arguments: Any, interceptors: Any = (), **more: Any) -> Any:
        return serve(*arguments, interceptors=[TellCalls(to), *interceptors], **more)

    @functools.wraps(start)
    async def telling_start(*arguments: Any, **more: Any) -> Any:
        if verb := (more.get("env") or {}).get("CNI_COMMAND"):
            tell(f"/CNI/{verb}", to)
        return await start(*arguments, **more)

    grpc.aio.server, asyncio.create_subprocess_exec = telling_server, telling_start


def main() -> None:
    """Run the module that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m k8sext.notebook.calls", description=__doc__)
    parser.add_argument("--to", type=Path, metavar="FILE", help="append the lines to this file [default: the output]")
    parser.add_argument("module", metavar="MODULE", help="as after `python -m`")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the module's own")
    options = parser.parse_args()
    listen_in(options.to.open("a") if options.to else sys.stdout)
    sys.argv = [options.module, *options.arguments]
    runpy.run_module(options.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
