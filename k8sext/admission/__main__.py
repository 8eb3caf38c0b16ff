"""`python -m k8sext.admission run|manifest TARGET ...`: the webhooks of a module or a file, in a pod or as YAML."""

from __future__ import annotations

import argparse
import asyncio
import sys

from k8sext.admission.command_line import answer, found_in
from k8sext.admission.functions import AdmissionWebhook

MISSING = "webhook to register: decorate a function with @validating or @mutating"


def main(arguments: list[str]) -> int:
    """Answer one command line; returns the exit code."""
    return answer(_parser(), arguments)


def _run(options: argparse.Namespace) -> None:
    from k8sext.admission.in_cluster import run

    webhooks = found_in(options.target, AdmissionWebhook, MISSING)
    asyncio.run(run(webhooks, options.service, options.port, options.every))


def _manifest(options: argparse.Namespace) -> None:
    from k8sext.admission.deployment import manifests
    from k8sext.kube.manifest import to_yaml

    webhooks = found_in(options.target, AdmissionWebhook, MISSING)
    documents = manifests(options.target, webhooks, options.name, options.namespace)
    print(to_yaml(*documents, width=120), end="")


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
