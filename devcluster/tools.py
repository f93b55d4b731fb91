"""The Go programs that a cluster is made of, and their pinned versions."""

import platform
import re
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parent / "go"
_VERSION_PACKAGE = "k8s.io/component-base/version"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Toolset:
    """Programs that are built together.

    Attributes:
        name: folder of the pinned ``go.mod`` under ``devcluster/go``.
        version: of the module that has the programs, as Go spells it (``v1.36.3``).
        programs: Go package of each program.
        version_arguments: what makes each program on PATH say its version.
        linker_flags: given to the linker besides those that leave out debugging symbols.
    """

    name: str
    version: str
    programs: dict[str, str]
    version_arguments: dict[str, tuple[str, ...]]
    linker_flags: tuple[str, ...] = ()

    @property
    def module(self) -> Path:
        """Folder of the pinned ``go.mod``."""
        return MODULES / self.name

    @property
    def folder_name(self) -> str:
        """Name of the folder in the cache: another version, system or processor has another."""
        machine = platform.machine()
        return f"{self.name}-{self.version}-{platform.system().lower()}-{_MACHINES.get(machine, machine)}"


def _kubernetes(version: str) -> Toolset:
    commands = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    major, minor = major_minor(version)
    # Without these the API server calls itself v0.0.0, and clients that look at the version misbehave.
    variables = {
        "gitVersion": version,
        "gitMajor": str(major),
        "gitMinor": str(minor),
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    return Toolset(
        name="kubernetes",
        version=version,
        programs={command: f"k8s.io/kubernetes/cmd/{command}" for command in commands},
        version_arguments=dict.fromkeys(commands, ("--version",)) | {"kubectl": ("version", "--client")},
        linker_flags=tuple(f"-X {_VERSION_PACKAGE}.{name}={value}" for name, value in variables.items()),
    )


def major_minor(text: str) -> tuple[int, int]:
    """The first version in a text, as (major, minor).

    Raises:
        ValueError: the text has none.
    """
    found = re.search(r"(\d+)\.(\d+)", text)
    if found is None:
        raise ValueError(f"no version in {text!r}")
    return int(found[1]), int(found[2])


KUBERNETES = _kubernetes("v1.36.3")
ETCD = Toolset(
    name="etcd",
    version="v3.6.15",
    programs={"etcd": "go.etcd.io/etcd/server/v3"},
    version_arguments={"etcd": ("--version",)},
)
TOOLSETS = (ETCD, KUBERNETES)
