"""Exercises of notebook 13: the next address, and a plugin's answers."""

from __future__ import annotations

from typing import Any

from k8sext.notebook.exercises.exercise import exercise
from k8sext.notebook.exercises.learner import Learner, expect


@exercise(
    "13.1",
    "The next address",
    hints=(
        "`ipaddress.ip_network(subnet).hosts()` yields the usable addresses in order, without the first and the last "
        "of the range.",
        "The first usable one is the bridge's own, the gateway of all pods. Turn an address into text with `str`.",
    ),
    solution="""
    import ipaddress

    def next_address(subnet, taken):
        gateway, *hosts = ipaddress.ip_network(subnet).hosts()
        return next((str(host) for host in hosts if str(host) not in taken), None)
    """,
)
def next_address(learner: Learner) -> str:
    """Write `next_address(subnet, taken)`. It returns the lowest free address of a range such as `10.9.0.0/24`: not
    that of the network, not the last one (broadcast), not the first usable one (the gateway's), and none of the list
    `taken`. When all are taken it returns None."""
    learner.same("next_address", "10.9.0.0/24", [], answer="10.9.0.2")
    learner.same("next_address", "10.9.0.0/24", ["10.9.0.2", "10.9.0.3"], answer="10.9.0.4")
    learner.same("next_address", "10.9.0.0/24", ["10.9.0.3"], answer="10.9.0.2")
    learner.same("next_address", "10.9.0.128/29", ["10.9.0.130"], answer="10.9.0.131")
    learner.same("next_address", "10.9.0.0/30", ["10.9.0.2"], answer=None)
    return "two pods never get the same address, and one that is given back is used again"


@exercise(
    "13.2",
    "Speak CNI",
    hints=(
        "Look at `environment['CNI_COMMAND']` first. VERSION needs nothing else from the environment.",
        "An error is a dictionary with `cniVersion`, `code` and `msg`; 4 is a bad environment.",
        "DEL must work on ruins: where the pod's namespace is gone, `CNI_NETNS` may be empty, and that is no error. "
        "Its answer is None.",
    ),
    solution="""
    def answer(environment):
        command = environment.get("CNI_COMMAND")
        if command == "VERSION":
            return {"cniVersion": "1.1.0", "supportedVersions": ["1.0.0", "1.1.0"]}
        if command == "DEL":
            return None
        if command != "ADD":
            return {"cniVersion": "1.1.0", "code": 4, "msg": f"CNI_COMMAND cannot be {command}"}
        if not environment.get("CNI_NETNS"):
            return {"cniVersion": "1.1.0", "code": 4, "msg": "CNI_NETNS is missing"}
        interface = {"name": environment["CNI_IFNAME"], "sandbox": environment["CNI_NETNS"]}
        return {"cniVersion": "1.1.0", "interfaces": [interface]}
    """,
)
def speak(learner: Learner) -> str:
    """Write the head of a plugin, `answer(environment)`. It returns what the plugin would print, as a dictionary. For
    VERSION the answer has `supportedVersions` with `1.1.0` in it. For ADD it has `interfaces`, a list with the `name`
    (`CNI_IFNAME`) and the `sandbox` (`CNI_NETNS`) of the one that was made. ADD without `CNI_NETNS`, and every command
    but these and DEL, are an error: `code` 4 and a `msg`. DEL always succeeds, and prints nothing: None."""

    def asked(**environment: str) -> Any:
        return learner.call("answer", environment)

    version = asked(CNI_COMMAND="VERSION")
    expect(isinstance(version, dict), f"for VERSION it returns {version!r}, and not a dictionary")
    expect(
        "1.1.0" in version.get("supportedVersions", []),
        f"for VERSION it answers {version}, without 1.1.0 in `supportedVersions`",
    )
    namespace = {"CNI_CONTAINERID": "one", "CNI_NETNS": "/proc/7/ns/net", "CNI_IFNAME": "eth0"}
    added = asked(CNI_COMMAND="ADD", **namespace)
    made = [{"name": "eth0", "sandbox": "/proc/7/ns/net"}]
    expect(isinstance(added, dict), f"for ADD it returns {added!r}, and not a dictionary")
    expect(added.get("interfaces") == made, f"for ADD it answers {added}, and `interfaces` should be {made}")
    for what, environment in (
        ("ADD without CNI_NETNS", {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "one", "CNI_IFNAME": "eth0"}),
        ("the command PLUGIN", {"CNI_COMMAND": "PLUGIN", **namespace}),
    ):
        error = asked(**environment)
        code = error.get("code") if isinstance(error, dict) else None
        expect(code == 4, f"for {what} it answers {error}, and should answer an error with the code 4")
        expect(error.get("msg"), f"its error for {what} has no `msg`, which a human could read")
    for environment in ({}, namespace):
        gone = asked(
            CNI_COMMAND="DEL", CNI_CONTAINERID="one", **{k: v for k, v in environment.items() if k == "CNI_NETNS"}
        )
        expect(gone is None, f"DEL is answered {gone}: it succeeds always, also on ruins, and prints nothing")
    return "a runtime could call it: verbs in, JSON out, errors with a number"
