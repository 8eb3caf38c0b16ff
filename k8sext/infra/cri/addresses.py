"""The addresses of pods of handler `process`: the lower half of the node's range (the upper is the network plugin's)."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Network

from grpc import StatusCode

from k8sext.infra.refusals import Refusal


class Addresses:
    """Go round the addresses, so that one just freed is not given out at once."""

    def __init__(self) -> None:
        self._last = 0

    def free(self, cidr: IPv4Network, used: Collection[str]) -> str:
        """Return an address that is not used; raise Refusal when none is. The first belongs to the node."""
        hosts = cidr.num_addresses // 2 - 2
        for step in range(hosts):
            candidate = 2 + (self._last + step) % hosts
            if (address := str(cidr[candidate])) not in used:
                self._last = candidate - 1
                return address
        raise Refusal(StatusCode.RESOURCE_EXHAUSTED, f"no pod address of {cidr} is free: delete pods of this node")
