"""What the plugin is asked: environment variables and a JSON document, both looked at before anything is done.

Everything here comes from outside and some of it becomes a command line or a path, so nothing passes that is not of
the expected shape. Source: CNI specification 1.1.0, sections 2 and 5.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

SUPPORTED = ("1.0.0", "1.1.0")
INCOMPATIBLE, UNSUPPORTED_FIELD, BAD_ENVIRONMENT, IO_FAILURE, NOT_DECODED, BAD_CONFIG = 1, 2, 4, 5, 6, 7
TRY_AGAIN_LATER, NOT_AVAILABLE = 11, 50
NOT_AS_LEFT, INTERFACE_EXISTS = 100, 101
"""Codes from 100 are the plugin's own; the others stand in the specification's table of errors."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_INTERFACE = re.compile(r"[^\s/:%\0]{1,15}")
_NETNS_OPTIONAL = ("DEL",)
Json = dict[str, Any]


class CniError(Exception):
    """The request cannot be carried out; becomes the error document with `code`, `msg` and `details`."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code, self.details = code, details


class Attachment(NamedTuple):
    """One pod's interface in this network: what an address belongs to."""

    container: str
    interface: str


class Config(NamedTuple):
    """A network's configuration, checked."""

    version: str
    name: str
    bridge: str
    mtu: int
    subnet: ipaddress.IPv4Network
    first: ipaddress.IPv4Address
    last: ipaddress.IPv4Address
    gateway: ipaddress.IPv4Address
    routes: list[Json]
    folder: str
    dns: Json
    previous: Json | None
    valid: list[Attachment] | None


def decode(text: bytes) -> Json:
    """Return the JSON object of standard input; raise CniError (6) for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise CniError(NOT_DECODED, f"standard input is not JSON: {problem}") from None
    if not isinstance(found, dict):
        raise CniError(NOT_DECODED, "standard input is JSON but not an object: pass a network configuration")
    return cast(Json, found)


def attachment(environment: Mapping[str, str]) -> Attachment:
    """Return which interface of which container is meant; raise CniError (4) for missing or malformed variables."""
    container, interface = environment.get("CNI_CONTAINERID", ""), environment.get("CNI_IFNAME", "")
    if not _NAME.fullmatch(container):
        raise CniError(BAD_ENVIRONMENT, f"CNI_CONTAINERID is {container!r}: letters, digits and _ . - are allowed")
    if not _INTERFACE.fullmatch(interface) or interface in (".", ".."):
        raise CniError(BAD_ENVIRONMENT, f"CNI_IFNAME is {interface!r}: give a name of 1 to 15 letters, as eth0")
    return Attachment(container, interface)


def namespace(command: str, environment: Mapping[str, str]) -> str:
    """Return the path of the pod's network namespace, "" when it is gone and may be; raise CniError (4) otherwise."""
    path = environment.get("CNI_NETNS", "")
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        if command in _NETNS_OPTIONAL:
            return ""
        raise CniError(BAD_ENVIRONMENT, f"CNI_NETNS is {path!r}, and there is no such network namespace") from None
    if not path.startswith("/") or re.search(r"\s", path):
        raise CniError(BAD_ENVIRONMENT, f"CNI_NETNS is {path!r}: give an absolute path without spaces")
    ours = os.stat("/proc/self/ns/net")  # noqa: PTH116
    if (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino):
        raise CniError(BAD_ENVIRONMENT, f"CNI_NETNS is {path!r}, the very namespace that the plugin runs in")
    return path


def version_of(document: Json) -> str:
    """Return the version a document is written in; raise CniError (1) for one that is not supported."""
    version = document.get("cniVersion", "0.1.0")
    if version not in SUPPORTED:
        supported = ", ".join(SUPPORTED)
        raise CniError(INCOMPATIBLE, f"cniVersion {version!r} is not supported: use one of {supported}")
    return version


def configuration(document: Json) -> Config:
    """Return the configuration of a document; raise CniError (1, 2 or 7) saying what is wrong with it."""
    version = version_of(document)
    name, ipam = _text(document, "name", None), _object(document, "ipam")
    if not _NAME.fullmatch(name):
        raise CniError(BAD_CONFIG, f"name is {name!r}: letters, digits and _ . - are allowed")
    bridge = _text(document, "bridge", "cni0")
    if not _INTERFACE.fullmatch(bridge) or bridge in (".", ".."):
        raise CniError(BAD_CONFIG, f"bridge is {bridge!r}: give a name of 1 to 15 letters, as cni0")
    mtu = document.get("mtu", 0)
    if type(mtu) is not int or not (mtu == 0 or 68 <= mtu <= 65535):
        raise CniError(BAD_CONFIG, f"mtu is {mtu!r}: give a number of bytes from 68 to 65535, or leave it out")
    if document.get("ipMasq"):
        raise CniError(UNSUPPORTED_FIELD, "ipMasq is not supported: pods keep their addresses, leave it out")
    if ipam.get("type", "k8sext-bridge") != "k8sext-bridge":
        raise CniError(UNSUPPORTED_FIELD, "ipam.type is not supported: this plugin gives out the addresses itself")
    subnet = _subnet(ipam)
    first, last, gateway = (
        _address(ipam, key, subnet, default) for key, default in (("rangeStart", 2), ("rangeEnd", -2), ("gateway", 1))
    )
    if first > last:
        raise CniError(BAD_CONFIG, f"ipam.rangeStart {first} comes after ipam.rangeEnd {last}")
    folder = _text(ipam, "dataDir", "/var/lib/cni/k8sext")
    if not folder.startswith("/") or "\0" in folder:
        raise CniError(BAD_CONFIG, f"ipam.dataDir is {folder!r}: give an absolute path")
    return Config(
        *(version, name, bridge, mtu, subnet, first, last, gateway),
        *(_routes(ipam), f"{folder}/{name}", _object(document, "dns"), _previous(document), _valid(document)),
    )


def _subnet(ipam: Json) -> ipaddress.IPv4Network:
    given = _text(ipam, "subnet", None)
    try:
        subnet = ipaddress.IPv4Network(given)
    except ValueError as problem:
        raise CniError(BAD_CONFIG, f"ipam.subnet: {problem}; give an IPv4 range as 10.244.1.0/24") from None
    if subnet.num_addresses < 4:
        raise CniError(BAD_CONFIG, f"ipam.subnet {subnet} has no room for a gateway and a pod: give a /30 or wider")
    return subnet


def _address(ipam: Json, key: str, subnet: ipaddress.IPv4Network, default: int) -> ipaddress.IPv4Address:
    given = _text(ipam, key, str(subnet[default]))
    try:
        address = ipaddress.IPv4Address(given)
    except ValueError as problem:
        raise CniError(BAD_CONFIG, f"ipam.{key}: {problem}") from None
    if address not in subnet or address in (subnet[0], subnet[-1]):
        raise CniError(BAD_CONFIG, f"ipam.{key} {address} is no host's address in ipam.subnet {subnet}")
    return address


def _routes(ipam: Json) -> list[Json]:
    routes = ipam.get("routes", [{"dst": "0.0.0.0/0"}])
    try:
        return [
            {"dst": str(ipaddress.IPv4Network(str(route["dst"])))}
            | ({"gw": str(ipaddress.IPv4Address(str(route["gw"])))} if "gw" in route else {})
            for route in routes
        ]
    except (ValueError, TypeError, KeyError) as problem:
        raise CniError(BAD_CONFIG, f'ipam.routes must be a list such as [{{"dst": "0.0.0.0/0"}}]: {problem}') from None


def _previous(document: Json) -> Json | None:
    if document.get("prevResult") is None:
        return None
    previous = _object(document, "prevResult")
    for key in ("interfaces", "ips", "routes"):
        entries: object = previous.get(key) or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in cast(list[object], entries)):
            raise CniError(BAD_CONFIG, f"prevResult.{key} must be a list of objects")
    _object(previous, "dns")
    return previous


def _valid(document: Json) -> list[Attachment] | None:
    given = document.get("cni.dev/valid-attachments")
    if given is None:
        return None
    try:
        return [Attachment(str(one["containerID"]), str(one["ifname"])) for one in given]
    except (TypeError, KeyError) as problem:
        raise CniError(
            BAD_CONFIG, f"cni.dev/valid-attachments must be a list of containerID and ifname: {problem}"
        ) from None


def _text(document: Json, key: str, default: str | None) -> str:
    found = document.get(key, default)
    if not isinstance(found, str) or not found:
        raise CniError(BAD_CONFIG, f"{key} is {found!r}: a text must be given")
    return found


def _object(document: Json, key: str) -> Json:
    found = document.get(key, {})
    if not isinstance(found, dict):
        raise CniError(BAD_CONFIG, f"{key} is {found!r}: an object must be given")
    return cast(Json, found)
