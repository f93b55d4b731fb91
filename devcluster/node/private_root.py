"""A mount namespace in which a container sees the machine's files with its volumes mounted over them.

The new root is a tmpfs in which every entry of ``/`` is bound. A mount point that the machine lacks is created in
such a tmpfs as well: its deepest existing parent is mirrored first (a tmpfs in its place, with its entries bound), so
that nothing is ever created on the machine itself.
"""

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC = 1, 32, 4096, 8192, 16384
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE = 1 << 17, 1 << 18, 1 << 19
MNT_DETACH = 2
# A bind mount made in a user namespace keeps the flags of its source: a remount has to repeat them.
_KEPT_FLAGS = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME | os.ST_RELATIME
_MAX_LINKS = 40

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)


@dataclass(frozen=True)
class Mount:
    """``source``, a directory or a file of the machine, is seen at ``target`` in the container."""

    source: str
    target: str
    read_only: bool = False


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """mount(2)."""
    encoded = [None if one is None else os.fsencode(one) for one in (source, target, kind, options)]
    _check(_libc.mount(encoded[0], encoded[1], encoded[2], flags, encoded[3]), f"mount {source} on {target}")


def enter_namespace() -> None:
    """Puts this process into a mount namespace of its own; one that isn't root needs a user namespace for it.

    Raises:
        OSError: The machine does not permit it.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _check(_libc.unshare(CLONE_NEWNS), "unshare")
    else:
        _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWUSER), "unshare")
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    mount(None, "/", None, MS_REC | MS_SLAVE)


@dataclass
class PrivateRoot:
    """The tree under construction at ``root``, an empty directory. Paths in it are named as the container sees them."""

    root: str
    _owned: set[str] = field(default_factory=set)
    _volumes: set[str] = field(default_factory=set)
    _staged: int = 0

    def build(self, mounts: Sequence[Mount]) -> None:
        """Makes the tree with its mounts, outer ones first.

        Raises:
            OSError: Something could not be mounted; the message names it.
        """
        mount("tmpfs", self.root, "tmpfs", 0, "mode=755")
        # Otherwise binding the folder that holds this tree would put the tree into itself.
        mount(None, self.root, None, MS_UNBINDABLE)
        self._mirror("/", self.root)
        self._owned.add("/")
        for one in sorted(mounts, key=lambda entry: len(PurePosixPath(entry.target).parts)):
            self._bind(one)

    def shared_memory(self) -> None:
        """Gives the container its own /dev/shm, so that what a killed program leaves there goes with it."""
        if Path(self._host("/dev/shm")).is_dir():
            mount("tmpfs", self._host("/dev/shm"), "tmpfs", 0, "mode=1777")

    def ensure_directory(self, path: str) -> None:
        """Creates a directory in the container where it does not exist."""
        self._target(path, directory=True)

    def enter(self) -> None:
        """Makes the tree the root of this process."""
        mount(None, self.root, None, MS_PRIVATE)
        os.chdir(self.root)
        _check(_libc.syscall(_pivot_root_number(), b".", b"."), "pivot_root")
        _check(_libc.umount2(b".", MNT_DETACH), "umount2")
        os.chdir("/")

    def _host(self, path: str) -> str:
        return self.root + path if path != "/" else self.root

    def _mirror(self, source: str, destination: str) -> None:
        for entry in os.scandir(source):
            target = os.path.join(destination, entry.name)  # noqa: PTH118
            if entry.is_symlink():
                Path(target).symlink_to(Path(entry.path).readlink())
                continue
            if entry.is_dir():
                Path(target).mkdir()
            else:
                Path(target).touch()
            mount(entry.path, target, None, MS_BIND | MS_REC)

    def _mirror_in_place(self, path: str) -> None:
        self._staged += 1
        staging = f"{self.root}/.staging-{self._staged}"
        Path(staging).mkdir()
        mode = Path(self._host(path)).stat().st_mode & 0o7777
        mount("tmpfs", staging, "tmpfs", 0, f"mode={mode:o}")
        self._mirror(self._host(path), staging)
        mount(staging, self._host(path), None, MS_MOVE)
        Path(staging).rmdir()
        self._owned.add(path)

    def _resolve(self, path: str) -> tuple[str, list[str]]:
        """Follows links inside the tree; returns the deepest existing path and the parts that are missing."""
        pending = list(PurePosixPath(path).parts[1:])[::-1]
        reached, links = PurePosixPath("/"), 0
        while pending:
            part = pending.pop()
            if part == "..":
                reached = reached.parent
                continue
            candidate = reached / part
            host = Path(self._host(str(candidate)))
            if host.is_symlink():
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(f"too many symbolic links in {path}")
                link = PurePosixPath(host.readlink())
                reached = PurePosixPath("/") if link.is_absolute() else reached
                pending.extend([one for one in link.parts if one != "/"][::-1])
                continue
            if not host.exists():
                return str(reached), [part, *pending[::-1]]
            reached = candidate
        return str(reached), []

    def _private(self, path: str) -> bool:
        """Whether something created in this directory stays in the container, or in one of its volumes."""
        within = {str(one) for one in (PurePosixPath(path), *PurePosixPath(path).parents)}
        return path in self._owned or not within.isdisjoint(self._volumes)

    def _target(self, path: str, *, directory: bool) -> str:
        reached, missing = self._resolve(path)
        if not missing:
            return reached
        if not self._private(reached):
            self._mirror_in_place(reached)
        for depth, part in enumerate(missing):
            reached = str(PurePosixPath(reached) / part)
            if directory or depth < len(missing) - 1:
                Path(self._host(reached)).mkdir()
            else:
                Path(self._host(reached)).touch()
            self._owned.add(reached)
        return reached

    def _bind(self, one: Mount) -> None:
        target = self._target(one.target, directory=Path(one.source).is_dir())
        mount(one.source, self._host(target), None, MS_BIND | MS_REC)
        if one.read_only:
            kept = os.statvfs(self._host(target)).f_flag & _KEPT_FLAGS
            mount(None, self._host(target), None, MS_BIND | MS_REMOUNT | MS_RDONLY | kept)
        self._volumes.add(target)


def _pivot_root_number() -> int:
    return {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}[os.uname().machine]


def mounts_permitted(scratch: Path) -> str | None:
    """Tries in a child process whether this machine lets us mount.

    Returns:
        ``None`` if so, else what stands against it.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        message = ""
        try:
            enter_namespace()
            mount("tmpfs", str(scratch), "tmpfs", 0, "mode=755")
        except OSError as error:
            message = str(error)
        finally:
            os.write(writer, message.encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        message = pipe.read().decode()
    os.waitpid(child, 0)
    return message or None
