"""A pod's volumes as directories or files of this machine."""

import asyncio
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .api import Api
from .clock import parse_rfc3339
from .environment import Placement
from .errors import ApiError, VolumeNotReadyError
from .volume_files import VolumeFile, downward_files, object_content, object_files, write_files

JSON = dict[str, Any]

_HOST_PATH_KINDS: dict[str, tuple[str, Callable[[int], bool]]] = {
    "Directory": ("a directory", stat.S_ISDIR),
    "File": ("a file", stat.S_ISREG),
    "Socket": ("a socket", stat.S_ISSOCK),
    "CharDevice": ("a character device", stat.S_ISCHR),
    "BlockDevice": ("a block device", stat.S_ISBLK),
}
_TOKEN_SECONDS = 3600
_TOKEN_RETRY_SECONDS = 10


@dataclass(frozen=True)
class Volume:
    """Where a volume is. ``read_only`` holds for every mount of it."""

    path: Path
    read_only: bool = False


@dataclass
class _Token:
    directory: Path
    source: JSON
    mode: int
    renew_at: datetime


def host_path(path: str, kind: str) -> Path:
    """Returns a path of the machine, created where the type says so.

    A path without a type is created as a directory where it is missing, which is what container runtimes do.

    Raises:
        VolumeNotReadyError: It is missing, or something else than the type says.
    """
    found = Path(path)
    if kind in {"", "DirectoryOrCreate"} and not found.exists():
        found.mkdir(parents=True, exist_ok=True)
    if kind == "FileOrCreate" and not found.exists():
        found.touch()
    if kind in _HOST_PATH_KINDS:
        name, test = _HOST_PATH_KINDS[kind]
        if not found.exists() or not test(found.stat().st_mode):
            raise VolumeNotReadyError(f"hostPath type check failed: {path} is not {name}")
    return found


@dataclass
class Volumes:
    """Makes the volumes of one pod in ``directory``."""

    api: Api
    directory: Path
    placement: Placement
    _tokens: list[_Token] = field(default_factory=list)

    async def prepare(self, pod: JSON) -> dict[str, Volume]:
        """Returns every volume of the pod by name. Doing it again changes nothing that a program may have written.

        Raises:
            VolumeNotReadyError: One can't be made now; the message names it.
        """
        self._tokens.clear()
        made = {}
        for volume in pod["spec"].get("volumes") or ():
            try:
                made[volume["name"]] = await self._one(pod, volume)
            except (VolumeNotReadyError, ApiError, OSError) as error:
                raise VolumeNotReadyError(f'MountVolume.SetUp failed for volume "{volume["name"]}": {error}') from error
        return made

    async def renew_tokens(self, pod: JSON) -> None:
        """Renews service account tokens at 80 % of their lifetime, until cancelled."""
        while self._tokens:
            due = min(self._tokens, key=lambda token: token.renew_at)
            await asyncio.sleep(max(0.0, (due.renew_at - datetime.now(UTC)).total_seconds()))
            try:
                self._tokens.remove(due)
                write_files(due.directory, [await self._token(pod, due.source, due.directory, due.mode)])
            except ApiError:
                due.renew_at = datetime.now(UTC) + timedelta(seconds=_TOKEN_RETRY_SECONDS)
                self._tokens.append(due)

    async def _one(self, pod: JSON, volume: JSON) -> Volume:
        own = self.directory / volume["name"]
        namespace = pod["metadata"]["namespace"]
        if "emptyDir" in volume:
            own.mkdir(parents=True, exist_ok=True)
            own.chmod(0o777)
            return Volume(own)
        if "hostPath" in volume:
            return Volume(host_path(volume["hostPath"]["path"], volume["hostPath"].get("type", "")))
        if "persistentVolumeClaim" in volume:
            source = volume["persistentVolumeClaim"]
            return await self._claimed(namespace, source["claimName"], read_only=source.get("readOnly", False))
        if "ephemeral" in volume:
            return await self._claimed(namespace, f"{pod['metadata']['name']}-{volume['name']}", read_only=False)
        files = await self._files(pod, volume, own)
        write_files(own, files)
        return Volume(own, read_only=True)

    async def _files(self, pod: JSON, volume: JSON, own: Path) -> list[VolumeFile]:
        if "projected" in volume:
            source = volume["projected"]
            files: list[VolumeFile] = []
            for one in source.get("sources") or ():
                files += await self._source(pod, one, own, source.get("defaultMode") or 0o644)
            return files
        if "secret" in volume:
            # A Secret volume has its name in a field of its own.
            source = volume["secret"]
            volume = {"secret": source | {"name": source["secretName"]}}
        for key in ("configMap", "secret", "downwardAPI"):
            if key in volume:
                return await self._source(pod, {key: volume[key]}, own, volume[key].get("defaultMode") or 0o644)
        kind = next((key for key in volume if key != "name"), "unknown")
        raise VolumeNotReadyError(
            f"the local node has no {kind} volumes: use emptyDir, hostPath, configMap, secret, projected, "
            "downwardAPI, or a claim bound to a hostPath or local volume"
        )

    async def _source(self, pod: JSON, source: JSON, own: Path, mode: int) -> list[VolumeFile]:
        namespace = pod["metadata"]["namespace"]
        for key, kind, plural in (("configMap", "ConfigMap", "configmaps"), ("secret", "Secret", "secrets")):
            if key in source:
                name = source[key]["name"]
                document = await self.api.find(namespace, plural, name)
                content = None if document is None else object_content(kind, document)
                return object_files(f'{key.lower()} "{name}"', content, source[key], mode)
        if "downwardAPI" in source:
            return downward_files(pod, source["downwardAPI"].get("items") or (), self.placement, mode)
        if "serviceAccountToken" in source:
            return [await self._token(pod, source["serviceAccountToken"], own, mode)]
        raise VolumeNotReadyError(f"the local node has no projected source {sorted(source)}")

    async def _token(self, pod: JSON, source: JSON, own: Path, mode: int) -> VolumeFile:
        seconds = source.get("expirationSeconds") or _TOKEN_SECONDS
        token, expires = await self.api.service_account_token(pod, source.get("audience"), seconds)
        now = datetime.now(UTC)
        renew_at = now + 0.8 * (parse_rfc3339(expires) - now)
        self._tokens.append(_Token(own, source, mode, renew_at))
        return VolumeFile(source["path"], token.encode(), mode)

    async def _claimed(self, namespace: str, claim_name: str, *, read_only: bool) -> Volume:
        claim = await self.api.find(namespace, "persistentvolumeclaims", claim_name)
        if claim is None:
            raise VolumeNotReadyError(f'persistentvolumeclaim "{claim_name}" not found')
        bound = (claim.get("status") or {}).get("phase") == "Bound"
        if not bound:
            raise VolumeNotReadyError(f'persistentvolumeclaim "{claim_name}" is not bound')
        spec = (await self.api.get("", "persistentvolumes", claim["spec"]["volumeName"]))["spec"]
        if "hostPath" in spec:
            return Volume(host_path(spec["hostPath"]["path"], spec["hostPath"].get("type", "")), read_only)
        if "local" in spec:
            return Volume(host_path(spec["local"]["path"], "Directory"), read_only)
        raise VolumeNotReadyError(
            f'persistentvolumeclaim "{claim_name}": the local node mounts hostPath and local volumes only'
        )
