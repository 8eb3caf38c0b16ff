"""IPAM: which pod's interface has which address, remembered in one file below the network's folder.

Calls of a plugin are processes that may run at the same time and may be killed at any moment. So all of them wait for
the same lock, which the kernel releases when its last holder ends: the plugin, or an `ip` that outlives it for a
moment. The file is only ever replaced as a whole, after it has reached the disk. An address is taken before its link is
made and given back after the link is gone: what a kill leaves behind is always found in this file.
"""

# pathlib is a tenth of the time that an attachment takes: os it is
# ruff: noqa: PTH103, PTH105, PTH123

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from ipaddress import IPv4Address

from k8sext.infra.cni.request import IO_FAILURE, TRY_AGAIN_LATER, Attachment, CniError, Config


class Addresses:
    """The addresses of one network, in memory and on disk; use it while `locked`."""

    def __init__(self, config: Config) -> None:
        """Read the file; raise CniError (5) when it is damaged."""
        self._config, self._file = config, f"{config.folder}/addresses.json"
        self._owners: dict[str, Attachment] = {}
        self._last = str(config.first - 1)
        try:
            with open(self._file, encoding="utf-8") as file:
                content = json.load(file)
            self._owners = {ip: Attachment(*owner) for ip, owner in content["addresses"].items()}
            self._last = str(IPv4Address(content["last"]))
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise CniError(
                IO_FAILURE, f"{self._file} is damaged ({problem}): remove it when no pod is attached"
            ) from None

    @property
    def owners(self) -> dict[str, Attachment]:
        """Each address that is taken, and by which interface."""
        return dict(self._owners)

    def of(self, owner: Attachment) -> IPv4Address | None:
        """The address an interface has, None for none."""
        return next((IPv4Address(ip) for ip, other in self._owners.items() if other == owner), None)

    def take(self, owner: Attachment) -> IPv4Address:
        """Give an interface its address, for good when this returns; raise CniError (11) when none is free.

        Addresses are given out in a circle, so that one just given back rests before it is somebody else's.
        """
        if (already := self.of(owner)) is not None:
            return already
        address = self.free()
        if address is None:
            first, last = self._config.first, self._config.last
            raise CniError(
                TRY_AGAIN_LATER, f"no address from {first} to {last} is free: detach pods or widen the range"
            )
        self._last = str(address)
        self._owners[str(address)] = owner
        self._save()
        return address

    def give_back(self, owner: Attachment) -> None:
        """Free the address of an interface, if it has one."""
        if (address := self.of(owner)) is not None:
            del self._owners[str(address)]
            self._save()

    def free(self) -> IPv4Address | None:
        """The next address that could be taken, None when all are."""
        first, count = int(self._config.first), int(self._config.last) - int(self._config.first) + 1
        start = int(IPv4Address(self._last)) + 1 - first
        candidates = (IPv4Address(first + (start + step) % count) for step in range(count))
        taken = {*self._owners, str(self._config.gateway)}
        return next((address for address in candidates if str(address) not in taken), None)

    def _save(self) -> None:
        with open(f"{self._file}.new", "w", encoding="utf-8") as file:
            json.dump({"addresses": self._owners, "last": self._last}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{self._file}.new", self._file)


@contextmanager
def locked(config: Config) -> Generator[Addresses]:
    """Be the only one to change this network, until the block ends or this process and its children die. Raises
    CniError (5)."""
    try:
        os.makedirs(config.folder, exist_ok=True)
        lock = open(f"{config.folder}/lock", "w")  # noqa: SIM115
    except OSError as problem:
        raise CniError(IO_FAILURE, f"ipam.dataDir cannot be used: {problem}") from None
    with lock:
        os.set_inheritable(lock.fileno(), True)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Addresses(config)
