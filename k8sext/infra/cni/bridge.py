"""The verbs of the plugin: attach a pod to the bridge, detach it, and say whether all is as it should be.

A bridge is a switch made of software, a veth pair a cable with two plugs. An attached pod has one plug, named eth0 by
its runtime; the other hangs in the bridge. The bridge itself has an address, the gateway's, at which the machine and
what it routes to can be reached.
"""

# pathlib is a tenth of the time that an attachment takes: os it is
# ruff: noqa: PTH123

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address

from k8sext.infra.cni import ip
from k8sext.infra.cni.addresses import Addresses, locked
from k8sext.infra.cni.request import (
    BAD_CONFIG,
    INTERFACE_EXISTS,
    IO_FAILURE,
    NOT_AS_LEFT,
    NOT_AVAILABLE,
    Attachment,
    CniError,
    Config,
    Json,
)

PREFIX = "k8x"
_FORWARDING = "/proc/sys/net/ipv4/ip_forward"
_CAP_NET_ADMIN = 12


def add(config: Config, who: Attachment, namespace: str) -> Json:
    """Attach a pod and return the result document. Raises CniError, and then leaves nothing behind."""
    with locked(config) as addresses:
        fresh = addresses.of(who) is None
        address = addresses.take(who)
        try:
            ip.change(*_bridge_lines(config), *_cable_lines(config, who, address, namespace))
            ip.change(*_pod_lines(config, who, address), namespace=namespace)
            _allow_forwarding()
        except CniError as problem:
            if isinstance(problem, ip.IpError) and problem.exists:  # what exists is somebody's: it stays
                if fresh:
                    addresses.give_back(who)
                message = (
                    f"{namespace} has an interface {who.interface} already, or the call is repeated: DEL comes first"
                )
                raise CniError(INTERFACE_EXISTS, message, str(problem)) from None
            _detach(addresses, who)
            raise
    return _result(config, who, address, namespace)


def delete(config: Config, who: Attachment) -> None:
    """Detach a pod; one that is detached already, or whose namespace is gone, is none the worse."""
    with locked(config) as addresses:
        _detach(addresses, who)


def check(config: Config, who: Attachment, namespace: str) -> None:
    """Return when all is as ADD left it; raise CniError (100) with every difference in its details."""
    if config.previous is None:
        raise CniError(BAD_CONFIG, "CHECK needs prevResult, the result of ADD, in the configuration")
    told: list[Json] = config.previous.get("ips") or []
    wanted = [entry.get("address") for entry in told]
    with locked(config) as addresses:
        address = addresses.of(who)
    problems = [] if address else [f"no address is noted for {who.container} {who.interface}"]
    if address and f"{address}/{config.subnet.prefixlen}" not in wanted:
        problems.append(f"the address {address} is not in prevResult")
    problems += _differences_outside(config, who) + _differences_inside(config, who, address, namespace)
    if problems:
        raise CniError(NOT_AS_LEFT, "the network is not as ADD left it", "; ".join(problems))


def collect(config: Config) -> None:
    """GC: detach everything that is not among the valid attachments; go on after a failure, and then raise it.

    Without a list (cnitool sends none) nothing is known to be invalid, and nothing is removed.
    """
    if config.valid is None:
        return
    failures: list[str] = []
    with locked(config) as addresses:
        for who in {*addresses.owners.values()} - {*config.valid}:
            try:
                _detach(addresses, who)
            except CniError as problem:
                failures.append(f"{who.container} {who.interface}: {problem}")
        known = {cable(who) for who in addresses.owners.values()}
        for link in _hanging_in(config.bridge):
            if link.startswith(PREFIX) and link not in known:
                _remove_link(link)
    if failures:
        raise CniError(IO_FAILURE, "some attachments could not be removed", "; ".join(failures))


def status(config: Config) -> None:
    """Return when ADD could succeed now; raise CniError (50) with the reason otherwise."""
    import shutil  # here, as in every module of this package what ADD and DEL need not is not waited for by them

    missing = [program for program in ("ip", "nsenter") if not shutil.which(program)]
    if missing:
        raise CniError(NOT_AVAILABLE, f"not on PATH: {', '.join(missing)}; install iproute2 and util-linux")
    if not _may_administer_networks():
        raise CniError(
            NOT_AVAILABLE, "no right to change this network (CAP_NET_ADMIN): be root, or root of a user namespace"
        )
    try:
        with locked(config) as addresses:
            free = addresses.free()
    except CniError as problem:
        raise CniError(NOT_AVAILABLE, str(problem)) from None
    if free is None:
        raise CniError(NOT_AVAILABLE, f"no address from {config.first} to {config.last} is free")


def cable(who: Attachment) -> str:
    """The name of the plug that hangs in the bridge: always the same for the same pod, so that DEL finds it."""
    return PREFIX + hashlib.sha256("\0".join(who).encode()).hexdigest()[:12]


def _bridge_lines(config: Config) -> list[str]:
    """What makes the bridge; if it is there, only what does no harm when repeated."""
    gateway = f"{config.gateway}/{config.subnet.prefixlen}"
    lines = [f"link set dev {config.bridge} up", f"addr replace {gateway} dev {config.bridge}"]
    if _exists(config.bridge):
        return lines
    return [f"link add name {config.bridge} address {_mac('0a:58', config.gateway)} type bridge", *lines]


def _exists(link: str) -> bool:
    """Whether our network namespace has such a link: the kernel's list costs less than a process that asks for it."""
    with open("/proc/self/net/dev", encoding="utf-8") as links:
        return any(line.partition(":")[0].strip() == link for line in links)


def _cable_lines(config: Config, who: Attachment, address: IPv4Address, namespace: str) -> list[str]:
    """What makes the cable: one plug in the bridge, the other in the pod's namespace under its name there."""
    ours, mtu = cable(who), f"mtu {config.mtu}" if config.mtu else ""
    theirs = f"name {who.interface} address {_mac('0a:58', address)} {mtu} netns {namespace}"
    return [
        f"link add name {ours} address {_mac('0a:59', address)} {mtu} type veth peer {theirs}",
        f"link set dev {ours} master {config.bridge} up",
    ]


def _pod_lines(config: Config, who: Attachment, address: IPv4Address) -> list[str]:
    """What a pod's side needs: an address and the ways out."""
    return [
        f"addr add {address}/{config.subnet.prefixlen} dev {who.interface}",
        f"link set dev {who.interface} up",
        *(
            f"route add {route['dst']} via {route.get('gw', config.gateway)} dev {who.interface}"
            for route in config.routes
        ),
    ]


def _allow_forwarding() -> None:
    """A gateway passes on what is not meant for itself."""
    try:
        with open(_FORWARDING, encoding="ascii") as file:
            allowed = file.read().strip() == "1"
        if not allowed:
            with open(_FORWARDING, "w", encoding="ascii") as file:
                file.write("1")
    except OSError as problem:
        raise CniError(IO_FAILURE, f"packets cannot be forwarded here: {problem}") from None


def _result(config: Config, who: Attachment, address: IPv4Address, namespace: str) -> Json:
    """What ADD answers: a previous plugin's result with ours behind it."""
    before = config.previous or Json()
    interfaces: list[Json] = before.get("interfaces") or []
    addresses: list[Json] = before.get("ips") or []
    ours = [
        {"name": config.bridge, "mac": _mac("0a:58", config.gateway)},
        {"name": cable(who), "mac": _mac("0a:59", address)},
        {"name": who.interface, "mac": _mac("0a:58", address), "sandbox": namespace},
    ]
    entry = {
        "address": f"{address}/{config.subnet.prefixlen}",
        "gateway": str(config.gateway),
        "interface": len(interfaces) + len(ours) - 1,
    }
    return {
        "cniVersion": config.version,
        "interfaces": [*interfaces, *ours],
        "ips": [*addresses, entry],
        "routes": [*(before.get("routes") or []), *config.routes],
        "dns": {**(before.get("dns") or {}), **config.dns},
    }


def _detach(addresses: Addresses, who: Attachment) -> None:
    """Pull the cable, then give back the address: in this order nobody ever has another's address."""
    _remove_link(cable(who))
    addresses.give_back(who)


def _remove_link(name: str) -> None:
    try:
        ip.change(f"link delete dev {name}")
    except ip.IpError as problem:
        if not problem.missing:
            raise


def _hanging_in(bridge: str) -> list[str]:
    try:
        return [link["ifname"] for link in ip.show("link", "show", "master", bridge)]
    except ip.IpError:
        return []


def _differences_outside(config: Config, who: Attachment) -> list[str]:
    if not _bridge_is_well(config):
        return [f"the bridge {config.bridge} is gone, down or without the address {config.gateway}"]
    if cable(who) not in _hanging_in(config.bridge):
        return [f"the cable {cable(who)} does not hang in the bridge {config.bridge}"]
    return []


def _bridge_is_well(config: Config) -> bool:
    try:
        found = ip.show("addr", "show", "dev", config.bridge)[0]
    except ip.IpError:
        return False
    return "UP" in found["flags"] and str(config.gateway) in [entry.get("local") for entry in found["addr_info"]]


def _differences_inside(config: Config, who: Attachment, address: IPv4Address | None, namespace: str) -> list[str]:
    try:
        found = ip.show("addr", "show", "dev", who.interface, namespace=namespace)[0]
        routes = ip.show("route", "show", "dev", who.interface, namespace=namespace)
    except ip.IpError:
        return [f"the pod has no interface {who.interface}"]
    problems = [] if "UP" in found["flags"] else [f"{who.interface} is down"]
    if str(address) not in [entry.get("local") for entry in found.get("addr_info", [])]:
        problems.append(f"{who.interface} does not have the address {address}")
    there = {"0.0.0.0/0" if route["dst"] == "default" else route["dst"] for route in routes}
    problems += [f"the route to {route['dst']} is gone" for route in config.routes if route["dst"] not in there]
    return problems


def _may_administer_networks() -> bool:
    with open("/proc/self/status", encoding="utf-8") as lines:
        effective = next(line.split()[1] for line in lines if line.startswith("CapEff"))
    return bool(int(effective, 16) >> _CAP_NET_ADMIN & 1)


def _mac(prefix: str, address: IPv4Address) -> str:
    """A hardware address made from an IP address: unique in the network, and readable."""
    return ":".join([prefix, *(f"{number:02x}" for number in address.packed)])
