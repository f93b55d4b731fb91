"""Addresses of pods in 127.0.0.0/8, all of which is this machine."""

import hashlib
from dataclasses import dataclass, field

HOST_IP = "127.0.0.1"
_FIRST = 1 << 16  # 127.1.0.0: what lies below is where programs of the machine itself listen.
_COUNT = (1 << 24) - (1 << 16)


def _address(index: int) -> str:
    number = _FIRST + index
    return f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


@dataclass
class AddressPool:
    """Hands out one address a pod. The address follows from the pod's UID, so that two clusters on one machine,
    which know nothing of each other, practically never give out the same one."""

    _taken: dict[str, str] = field(default_factory=dict)

    def reserve(self, uid: str, address: str) -> None:
        """Keeps an address that a pod already has, after a restart of the node."""
        self._taken[address] = uid

    def allocate(self, uid: str) -> str:
        """Returns the pod's address; the same one when asked again."""
        for address, owner in self._taken.items():
            if owner == uid:
                return address
        index = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8], "big") % _COUNT
        while (address := _address(index)) in self._taken or address.endswith((".0", ".255")):
            index = (index + 1) % _COUNT
        self._taken[address] = uid
        return address

    def release(self, uid: str) -> None:
        """Frees the pod's address."""
        for address in [one for one, owner in self._taken.items() if owner == uid]:
            del self._taken[address]
