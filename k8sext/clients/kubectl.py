"""Call kubectl, and say in one sentence what it did not like."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from dataclasses import dataclass

from k8sext.kube.objects import Json


class UserError(Exception):
    """What went wrong and what to do, in one sentence."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl with the global flags that the plugin was given."""

    flags: tuple[str, ...] = ()

    def command(self, *arguments: str) -> list[str]:
        """Return the command line; flags stand first, because all that follows a `--` belongs to someone else."""
        return ["kubectl", *self.flags, *arguments]

    def run(self, *arguments: str) -> str:
        """Return what kubectl prints. Raises UserError when it fails."""
        try:
            done = subprocess.run(self.command(*arguments), capture_output=True, text=True)
        except FileNotFoundError:
            raise UserError("There is no kubectl on PATH: install it, or add its folder to PATH.") from None
        check(done.returncode, done.stderr)
        return done.stdout

    def json(self, *arguments: str) -> Json:
        """Return what kubectl prints with `-o json`. Raises UserError when it fails."""
        return json.loads(self.run(*arguments, "--output=json"))


UNREACHABLE = "The API server does not answer ({0}): start the cluster, or choose another context."
EXPIRED = "The API server does not accept your credentials ({0}): log in again, or choose another context."
KNOWN = (
    (
        r'context "(.*)" does not exist',
        'There is no context "{0}" in your kubeconfig: `kubectl ctx-auto --list` shows what there is.',
    ),
    (
        r"context was not found for specified context: (\S+)",
        'There is no context "{0}" in your kubeconfig: `kubectl ctx-auto --list` shows what there is.',
    ),
    (
        r'error loading config file "([^"]*)": (?:.*: )?(.*)',
        "The kubeconfig {0} makes no sense ({1}): mend it, or name another with --kubeconfig.",
    ),
    (r"stat (.*): no such file or directory", "There is no kubeconfig {0}: name another with --kubeconfig."),
    (r"The connection to the server (\S+) was refused", UNREACHABLE),
    (r"((?:dial tcp|Unable to connect to the server|net/http|context deadline exceeded).*)", UNREACHABLE),
    (r"(Unauthorized|must be logged in|certificate has expired.*|getting credentials.*)", EXPIRED),
)


def check(code: int, stderr: str) -> None:
    """Raise UserError with what kubectl said, if it failed; KeyboardInterrupt if Ctrl-C, which goes to kubectl as well,
    ended it first."""
    if code == -signal.SIGINT:
        raise KeyboardInterrupt
    if code:
        raise UserError(sentence(stderr))


def sentence(stderr: str) -> str:
    """Return one sentence for what kubectl wrote to standard error; log lines such as "E1122 10:00:00 ..." are passed
    over."""
    lines = [line for line in stderr.splitlines() if line.strip() and not re.match(r"[EWI]\d{4} ", line)]
    for pattern, answer in KNOWN:
        if found := re.search(pattern, "\n".join(lines)):
            return answer.format(*(group.strip() for group in found.groups()))
    last = lines[-1].strip() if lines else "kubectl failed and said nothing."
    return re.sub(r"^(error|Error from server( \(\w+\))?): ", "", last)
