"""`python -m k8sext.admission run|manifest TARGET ...`: the webhooks of a module or a Python file, in a pod or as YAML."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import logging
import sys
from pathlib import Path
from types import ModuleType

from k8sext.admission.functions import AdmissionWebhook, Webhook


class UsageError(Exception):
    """What was asked for cannot be done; the message says why."""


def main(arguments: list[str]) -> int:
    """Answer one command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        options.command(options)
    except Exception as error:
        from k8sext.kube.connect import ConnectError
        from k8sext.kube.request import ApiError, Unreachable

        if not isinstance(error, (UsageError, ConnectError, ApiError, Unreachable, OSError)):
            raise
        print(error, file=sys.stderr)
        return 1
    return 0


def webhooks_of(target: str) -> list[AdmissionWebhook]:
    """The validating and mutating webhooks of a module, or of a Python file. Raises UsageError."""
    found = [value for value in vars(_load(target)).values() if isinstance(value, Webhook)]
    admitting = list(dict.fromkeys(webhook for webhook in found if isinstance(webhook, AdmissionWebhook)))
    if not admitting:
        raise UsageError(f"{target} has no webhook to register: decorate a function with @validating or @mutating")
    return admitting


def _load(target: str) -> ModuleType:
    try:
        if not target.endswith(".py"):
            return importlib.import_module(target)
        if not Path(target).is_file():
            raise UsageError(f"there is no file {target}")
        spec = importlib.util.spec_from_file_location("webhooks", target)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except (ImportError, SyntaxError) as error:
        raise UsageError(f"{target} cannot be loaded: {error}") from error


def _run(options: argparse.Namespace) -> None:
    from k8sext.admission.incluster import run

    asyncio.run(run(webhooks_of(options.target), options.service, options.port, options.every))


def _manifest(options: argparse.Namespace) -> None:
    import json

    import yaml

    from k8sext.admission.deployment import manifests

    documents = manifests(options.target, webhooks_of(options.target), options.name, options.namespace)
    copies = json.loads(json.dumps(documents))  # YAML would write the second use of a part as an alias
    print(yaml.safe_dump_all(copies, sort_keys=False, width=120), end="")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m k8sext.admission", description="webhooks from plain Python functions"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="serve them in a pod")
    run.set_defaults(command=_run)
    run.add_argument("target", help="a module, or a file that ends in .py")
    run.add_argument("--service", required=True, help="the Service in front of this pod")
    run.add_argument("--port", type=int, default=8443)
    run.add_argument("--every", type=float, default=30.0, help="seconds between two looks at the certificate")
    manifest = commands.add_parser("manifest", help="print what runs them in a cluster")
    manifest.set_defaults(command=_manifest)
    manifest.add_argument("target", help="a module, or a file that ends in .py")
    manifest.add_argument("--name", required=True, help="of Deployment, Service and all that belongs to them")
    manifest.add_argument("--namespace", required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
