"""S3 as a pod reaches it: with the tenant's keys, and with the zoo reader's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from nasoa_runtime.boundary import Store
from nasoa_runtime.storage.s3 import ObjectStore, connect

TENANT_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
READER_KEYS = ("NASOA_ZOO_ACCESS_KEY_ID", "NASOA_ZOO_SECRET_ACCESS_KEY")
"""Environment variables that hold an access key and its secret."""


@dataclass
class Stores:
    """Connections to one S3, each made when it is first asked for."""

    address: Store = field(default_factory=Store)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _connections: dict[tuple[str, str], ObjectStore] = field(default_factory=dict)

    @property
    def tenant(self) -> ObjectStore:
        """For data, checkpoints and results."""
        return self._connected(TENANT_KEYS)

    @property
    def zoo(self) -> ObjectStore:
        """For weights and prototypes, with the tenant's keys where the reader's were not given."""
        return self._connected(READER_KEYS) if self.environment.get(READER_KEYS[0]) else self.tenant

    def _connected(self, keys: tuple[str, str]) -> ObjectStore:
        if keys not in self._connections:
            access_key, secret_key = (self.environment.get(name) for name in keys)
            self._connections[keys] = connect(self.address.endpoint, self.address.region, access_key, secret_key)
        return self._connections[keys]
