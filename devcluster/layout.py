"""Where a cluster keeps what it has: everything is in its one folder."""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

_APPLICATION = "devcluster"


def cache_directory() -> Path:
    """Folder of what is built once for all clusters of this user."""
    return Path(platformdirs.user_cache_dir(_APPLICATION))


def port_locks() -> Path:
    """Folder of the lock files that keep clusters from taking each other's ports."""
    return cache_directory() / "ports"


def default_data_directory(name: str) -> Path:
    """The folder of a cluster that was given only a name."""
    return Path(platformdirs.user_state_dir(_APPLICATION)) / "clusters" / name


@dataclass(frozen=True)
class Layout:
    """The files of the cluster whose folder is ``root`` (absolute)."""

    root: Path

    @property
    def kubeconfig(self) -> Path:
        """How administrators reach the API server."""
        return self.root / "kubeconfig"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.root / "pki"

    @property
    def logs(self) -> Path:
        """One log for each component."""
        return self.root / "logs"

    @property
    def s3(self) -> Path:
        """The object store's data and identities."""
        return self.root / "s3"

    @property
    def etcd(self) -> Path:
        """The control plane's data."""
        return self.root / "etcd"

    @property
    def kubeconfigs(self) -> Path:
        """Access of components and service accounts."""
        return self.root / "kubeconfigs"

    @property
    def roster(self) -> Path:
        """What runs, for those who come later: see `devcluster.roster`."""
        return self.root / "cluster.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor while it lives."""
        return self.root / "lock"

    @property
    def kubectl(self) -> Path:
        """What kubectl remembers of the API server."""
        return self.root / "kubectl-cache"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor did."""
        return self.logs / "supervisor.log"

    def node(self, name: str) -> Path:
        """The folder of one node: its credentials and its pods' files."""
        return self.root / "nodes" / name

    def log(self, component: str) -> Path:
        """The log of one component."""
        return self.logs / f"{component}.log"

    def make(self) -> None:
        """Makes the folders, readable by their owner only: keys are in them."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        for folder in (self.pki, self.logs, self.s3, self.etcd, self.kubeconfigs):
            folder.mkdir(mode=0o700, exist_ok=True)

    def remove(self) -> None:
        """Removes what a cluster made in its folder, and the folder if nothing else is in it."""
        for folder in (self.pki, self.logs, self.s3, self.etcd, self.kubeconfigs, self.root / "nodes", self.kubectl):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.kubeconfig, self.roster, self.lock, self.root / "control"):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            self.root.rmdir()
