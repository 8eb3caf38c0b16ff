"""Pods made from a seed: what the state machine of a kubelet has to get right, in every mixture.

Every container says in a file of the pod when it starts, and when it is told to end.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from k8sext.infra.cri.built_in import BUILT_IN

Json = dict[str, Any]
CALM = 4.0
"""Seconds without anything new, after which a pod that has done all its script says counts as settled."""


@dataclass(frozen=True)
class Case:
    """A pod's spec; seconds until its scripts have done all; when it is deleted (None: once it has settled)."""

    seed: int
    spec: Json
    busy: float
    deleted_after: float | None

    @property
    def name(self) -> str:
        return f"seed-{self.seed}"


class Maker:
    """Makes one pod's parts, and counts how long they are busy."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.seed, self.busy = seed, CALM

    def case(self) -> Case:
        dice = self.dice
        inits = [self.init(f"i{number}") for number in range(dice.choice([0, 0, 0, 1, 2]))]
        mains = [self.main(f"m{number}") for number in range(dice.choice([1, 1, 2]))]
        spec: Json = {
            "restartPolicy": dice.choice(["Always", "OnFailure", "Never"]),
            "terminationGracePeriodSeconds": dice.choice([2, 2, 3, 5]),
            "containers": mains,
            **({"initContainers": inits} if inits else {}),
        }
        if dice.random() < 0.15:
            # far from all that happens in the first seconds, and nothing starts again, which it could meet
            spec |= {"activeDeadlineSeconds": 15, "restartPolicy": "Never"}
            for main in mains:
                main.pop("restartPolicyRules", None)
                main.pop("restartPolicy", None)
            self.busy += 15
        if spec["restartPolicy"] != "Always":
            for one in inits:  # the end of a pod must not meet that of a sidecar that a probe kills again and again
                one.pop("livenessProbe", None)
        early = dice.choice([0.0, 0.5, 1.5, 3.0, 6.0]) if dice.random() < 0.25 else None
        return Case(self.seed, spec, self.busy, early)

    def init(self, name: str) -> Json:
        if self.dice.random() < 0.5:
            container = self.container(name, self.lasting(name))
            container["restartPolicy"] = "Always"
            if self.dice.random() < 0.4:
                container["startupProbe"] = self.probe("true", initialDelaySeconds=self.dice.choice([0, 2]))
            elif self.dice.random() < 0.3:
                container["livenessProbe"] = self.probe("false", failureThreshold=2, initialDelaySeconds=1)
                self.busy += 5
            return container
        return self.container(name, self.ending(name, [0, 0, 0, 3]))

    def main(self, name: str) -> Json:
        dice = self.dice
        kind = dice.choice(["lasts"] * 4 + ["ends"] * 3 + ["missing", "no image", "no key", "root"])
        if kind == "ends":
            container = self.container(name, self.ending(name, [0, 0, 1, 7, 137]))
            if dice.random() < 0.3:
                self.add_restart_rules(container)
            return container
        container = self.container(name, self.lasting(name))
        if kind == "missing":
            container["command"] = ["/no/such/program"]
        elif kind == "no image":
            container |= {"image": "registry.invalid/none:1", "imagePullPolicy": "Never"}
        elif kind == "no key":
            source = {"configMapKeyRef": {"name": "missing", "key": "key"}}
            container["env"] = [{"name": "KEY", "valueFrom": source}]
        elif kind == "root":
            container["securityContext"] = {"runAsNonRoot": True, "runAsUser": 0}
        else:
            self.add_probes(container)
        if dice.random() < 0.3:
            self.add_hooks(container, name)
        return container

    def container(self, name: str, script: str) -> Json:
        return {
            "name": name,
            "image": BUILT_IN,
            "command": ["sh", "-c", script],
            "volumeMounts": [{"name": "trace", "mountPath": "/trace"}],
        }

    def lasting(self, name: str) -> str:
        """A script that goes on until it is told to end, and then does one thing or another."""
        last = self.dice.choice(["exit 0", "exit 0", "exit 143", "exit 5", ":"])
        message = "echo so it is > /dev/termination-log; " if self.dice.random() < 0.2 else ""
        heard = f"trap '{say(name, 'told')}; {message}{last}' TERM; "
        return f"{heard}{say(name, 'start')}; while :; do sleep 0.2; done"

    def ending(self, name: str, codes: list[int]) -> str:
        """A script that ends by itself."""
        after = self.dice.choice([0, 0.5, 2])
        message = "echo the end > /dev/termination-log; " if self.dice.random() < 0.3 else ""
        self.busy += after + 3
        return f"{say(name, 'start')}; sleep {after}; {message}exit {self.dice.choice(codes)}"

    def add_probes(self, container: Json) -> None:
        dice = self.dice
        if dice.random() < 0.3:
            container["startupProbe"] = self.probe(dice.choice(["true", "true", "false"]), failureThreshold=3)
            self.busy += 10  # until it is killed, with a hook and in its grace period
        if dice.random() < 0.4:
            container["readinessProbe"] = self.probe(dice.choice(["true", "false"]))
            self.busy += 3
        if dice.random() < 0.3:
            container["livenessProbe"] = self.probe(
                dice.choice(["true", "false"]), failureThreshold=dice.choice([1, 3]), initialDelaySeconds=1
            )
            if dice.random() < 0.5:
                container["livenessProbe"]["terminationGracePeriodSeconds"] = 1
            self.busy += 12

    def probe(self, command: str, **more: int) -> Json:
        # ten seconds, as the machine may be busy
        return {"exec": {"command": [command]}, "periodSeconds": 1, "timeoutSeconds": 10} | more

    def add_hooks(self, container: Json, name: str) -> None:
        dice = self.dice
        hooks: Json = {}
        if dice.random() < 0.5:
            script = f"sleep 0.5; {say(name, 'post')}; {dice.choice(['exit 0', 'sleep 1', 'exit 1'])}"
            hooks["postStart"] = {"exec": {"command": ["sh", "-c", script]}}
            self.busy += 4
        else:
            script = f"{say(name, 'pre')}; {dice.choice(['exit 0', 'sleep 0.5', 'exit 1', 'sleep 60'])}"
            hooks["preStop"] = {"exec": {"command": ["sh", "-c", script]}}
        container["lifecycle"] = hooks

    def add_restart_rules(self, container: Json) -> None:
        container["restartPolicy"] = self.dice.choice(["Always", "OnFailure", "Never"])
        rule = {"action": "Restart", "exitCodes": {"operator": self.dice.choice(["In", "NotIn"]), "values": [1]}}
        container["restartPolicyRules"] = [rule]


def say(name: str, what: str) -> str:
    return f'echo "$(date +%s.%N) {name} {what}" >> /trace/lines'


def make(seed: int) -> Case:
    """The pod of a seed."""
    return Maker(seed).case()
