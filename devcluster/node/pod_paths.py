"""Where a pod's files are on this machine."""

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PodPaths:
    """``DATA/pods/<uid>``: a folder for each container, and the volumes (their name can't be a container's)."""

    root: Path

    @classmethod
    def of(cls, data_directory: Path, uid: str) -> "PodPaths":
        """Returns the paths of a pod; nothing is created."""
        return cls(data_directory / "pods" / uid)

    @property
    def volumes(self) -> Path:
        """Volumes that live and end with the pod."""
        return self.root / ".volumes"

    def log(self, container: str, restart: int) -> Path:
        """The log of one run of a container."""
        return self.root / container / f"{restart}.log"

    def pid(self, container: str) -> Path:
        """The process id of the container's program, there while it runs."""
        return self.root / container / "pid"

    def message(self, container: str) -> Path:
        """The termination message."""
        return self.root / container / "termination-log"

    def temporary(self, container: str) -> Path:
        """The container's TMPDIR."""
        return self.root / container / "tmp"

    def work(self, container: str) -> Path:
        """The working directory of a container that names none."""
        return self.root / container / "work"

    def private_root(self, container: str) -> Path:
        """Where the container's root is put together, in its own mount namespace."""
        return self.root / container / "root"

    def fresh_container(self, container: str) -> None:
        """Makes the folders of a container's next run; what an earlier run left in them goes."""
        for path in (self.temporary(container), self.work(container)):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
        self.private_root(container).mkdir(exist_ok=True)
        self.message(container).write_bytes(b"")

    def remove_all_but_logs(self) -> None:
        """Removes what ends with the pod's last program. Logs stay until the object is gone."""
        shutil.rmtree(self.volumes, ignore_errors=True)
        for container in self.root.glob("[!.]*"):
            for name in ("tmp", "work", "root"):
                shutil.rmtree(container / name, ignore_errors=True)
            (container / "pid").unlink(missing_ok=True)
            (container / "termination-log").unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes everything of the pod."""
        shutil.rmtree(self.root, ignore_errors=True)
