"""What every plugin of ours does alike: kubectl's global flags, usage texts that begin with `kubectl`, exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from k8sext.clients.kubectl import Kubectl, UserError

GLOBAL = ("kubeconfig", "context", "cluster", "user", "namespace", "request_timeout")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that says wrong usage in one sentence, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence and where to read more."""
        self.exit(2, f"{message[:1].upper()}{message[1:]}: see `{self.prog} --help`.\n")


def parser(name: str, description: str, **options: Any) -> Parser:
    """Return a parser for the plugin `kubectl NAME` that knows kubectl's global flags."""
    made = Parser(prog=f"kubectl {name}", description=description, allow_abbrev=False, **options)
    shared = made.add_argument_group("global flags, as kubectl has them")
    shared.add_argument("--kubeconfig", metavar="FILE", help="the kubeconfig to use")
    shared.add_argument("--context", metavar="NAME", help="the kubeconfig context to use")
    shared.add_argument("--cluster", metavar="NAME", help="the kubeconfig cluster to use")
    shared.add_argument("--user", metavar="NAME", help="the kubeconfig user to use")
    shared.add_argument("-n", "--namespace", metavar="NAME", help="the namespace to work in")
    shared.add_argument("--request-timeout", metavar="TIME", help="give up after so long, as 5s")
    return made


def kubectl_of(options: argparse.Namespace, *without: str) -> Kubectl:
    """Return kubectl with the global flags among the options, apart from some."""
    given = {name: getattr(options, name) for name in GLOBAL if name not in without}
    return Kubectl(tuple(f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value))


def run(main: Callable[[list[str]], int]) -> NoReturn:
    """Run a plugin's main function and end the process with its exit code; an error is one sentence and code 1.

    So is what the system refuses: a file that cannot be read, a disk that is full, a program that is not there.
    """
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        print(f"Error: {error.filename or 'The system'} cannot be used: {error.strerror or error}.", file=sys.stderr)
        code = 1
    sys.exit(code)
