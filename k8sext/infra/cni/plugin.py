"""The command `k8sext-bridge`: one call, one verb, one JSON document on standard output.

Exit code 0 means success. Otherwise the document is the error, with its code; nothing else is ever printed there.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from k8sext.infra.cni import bridge, request
from k8sext.infra.cni.request import BAD_ENVIRONMENT, INCOMPATIBLE, IO_FAILURE, SUPPORTED, CniError, Json

COMMANDS = ("ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION")
_SINCE_1_1 = ("STATUS", "GC")


def main() -> None:
    """Do what the environment asks (CNI_COMMAND and the others) with the configuration on standard input, and exit."""
    command = os.environ.get("CNI_COMMAND", "")
    if not command and sys.stdin.isatty():
        sys.exit(f"k8sext-bridge is a CNI plugin ({', '.join(SUPPORTED)}): a container runtime calls it, or cnitool.")
    version = SUPPORTED[-1]
    try:
        document = request.decode(sys.stdin.buffer.read())
        if document.get("cniVersion") in SUPPORTED:
            version = document["cniVersion"]
        answer = run(command, document, os.environ)
    except CniError as error:
        _say({"cniVersion": version, "code": error.code, "msg": str(error), "details": error.details})
        sys.exit(1)
    except OSError as error:
        _say({"cniVersion": version, "code": IO_FAILURE, "msg": str(error), "details": ""})
        sys.exit(1)
    if answer is not None:
        _say(answer)
    sys.stdout.flush()
    os._exit(0)  # Python's own tidying up takes longer than a call of `ip`


def run(command: str, document: Json, environment: Mapping[str, str]) -> Json | None:
    """Carry out one verb and return its result, None where there is nothing to say. Raises CniError."""
    if command == "VERSION":
        return {"cniVersion": document.get("cniVersion", SUPPORTED[-1]), "supportedVersions": list(SUPPORTED)}
    if command not in COMMANDS:
        raise CniError(BAD_ENVIRONMENT, f"CNI_COMMAND is {command!r}: it must be one of {', '.join(COMMANDS)}")
    config = request.configuration(document)
    if command in _SINCE_1_1 and config.version == "1.0.0":
        raise CniError(INCOMPATIBLE, f"{command} came with version 1.1.0, and cniVersion is {config.version}")
    if command == "STATUS":
        return bridge.status(config)
    if command == "GC":
        return bridge.collect(config)
    who, namespace = request.attachment(environment), request.namespace(command, environment)
    if command == "DEL":
        return bridge.delete(config, who)
    if command == "CHECK":
        return bridge.check(config, who, namespace)
    return bridge.add(config, who, namespace)


def _say(document: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(document)}\n")


if __name__ == "__main__":
    main()
