"""A cluster from the outside: start it, use it, end it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from . import binaries, control, s3
from .controlplane import api_server
from .kubeconfig import with_token, write
from .layout import Layout, port_locks
from .nodes import PREFIX
from .ports import lock_block, ports_of
from .processes import ProcessId, alive, end, own_process_id
from .roster import Roster
from .supervisor import Request

Progress = Callable[[str], None]

_STOP_SECONDS = 40.0
_ROOT = str(Path(__file__).parents[1])
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")


class ClusterError(RuntimeError):
    """The cluster can't be started or is not there; the message says why."""


class KubectlError(subprocess.CalledProcessError):
    """A command of kubectl failed; says what kubectl said."""

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.stderr}"


class Cluster:
    """A running cluster.

    One that was started and not detached ends with the process that started it, in whatever way that ends; as a
    context manager it ends with the block. Its folder stays, with logs and data.
    """

    def __init__(self, layout: Layout, roster: Roster, programs: dict[str, Path]) -> None:
        self._layout = layout
        self._roster = roster
        self._kubectl = programs["kubectl"]
        self._ports = ports_of(roster.block)
        self.programs = programs
        self.s3 = s3.connection(layout.s3, self._ports, roster.buckets)

    @classmethod
    def start(
        cls,
        data_dir: Path | str,
        *,
        nodes: int = 1,
        name: str = "devcluster",
        progress: Progress = binaries.silent,
        images: Mapping[str, Sequence[str]] | None = None,
        buckets: Sequence[str] = s3.BUCKETS,
        identities: Mapping[str, s3.Rights] | None = None,
    ) -> "Cluster":
        """Starts a cluster and returns once pods can be created.

        Args:
            data_dir: its one folder; it may hold a former cluster's data, which then go on.
            nodes: how many local nodes run pods, named ``local-0`` and so on.
            name: what ``status`` shows.
            progress: told in words what is being done.
            images: what containers without a command run, by their image: nodes do not read images.
            buckets: the object store's; missing ones are made.
            identities: who reaches the store besides ``admin``, and what each may do there.

        Raises:
            ClusterError: it could not be started, or the names are wrong; nothing of it is left running.
            NoToolchainError, BuildError: the control plane has to be built and can't be.
        """
        if sys.platform != "linux":
            raise ClusterError("devcluster runs on Linux only")
        if _NAME.fullmatch(name) is None:
            raise ClusterError(f"{name!r} is not a cluster name: use up to 32 lower-case letters, digits and dashes")
        identities = dict(identities or {})
        try:
            s3.check(buckets, identities)
        except ValueError as error:
            raise ClusterError(str(error)) from None
        layout = Layout(Path(data_dir).resolve())
        programs = binaries.find(progress)
        request = Request(
            root=str(layout.root),
            name=name,
            programs={program: str(path) for program, path in programs.items()},
            weed=str(s3.weed()),
            nodes=[f"local-{index}" for index in range(nodes)],
            owner=own_process_id(),
            images=dict(images or {}),
            buckets=list(buckets),
            identities=identities,
        )
        layout.make()
        _launch(request, layout, progress)
        return cls.attach(layout.root, programs)

    @classmethod
    def attach(cls, data_dir: Path | str, programs: dict[str, Path] | None = None) -> "Cluster":
        """Returns the cluster that runs in a folder.

        Raises:
            ClusterError: none runs there.
        """
        layout = Layout(Path(data_dir).resolve())
        roster = Roster.read(layout.roster)
        if roster is None or not alive(roster.supervisor):
            raise ClusterError(f"no cluster runs in {layout.root}")
        return cls(layout, roster, programs or binaries.find())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def name(self) -> str:
        """Its name."""
        return self._roster.name

    @property
    def data_dir(self) -> Path:
        """Its one folder."""
        return self._layout.root

    @property
    def kubeconfig(self) -> Path:
        """Access as administrator."""
        return self._layout.kubeconfig

    @property
    def logs_dir(self) -> Path:
        """Folder of the components' logs."""
        return self._layout.logs

    @property
    def server(self) -> str:
        """Address of the API server."""
        return api_server(self._layout, self._ports).endpoint

    @property
    def supervisor(self) -> ProcessId:
        """The process above all its others."""
        return self._roster.supervisor

    @property
    def kubectl_command(self) -> list[str]:
        """What starts kubectl as administrator, for those who run it themselves."""
        return [str(self._kubectl), f"--kubeconfig={self.kubeconfig}"]

    def node_directory(self, name: str = "local-0") -> Path:
        """Where a node keeps its pods' files."""
        return self._layout.node(name)

    def kubectl(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002 (as in subprocess.run)
        check: bool = True,
    ) -> "subprocess.CompletedProcess[str]":
        """Runs kubectl as administrator.

        Raises:
            KubectlError: it failed and ``check`` is set.
        """
        made = subprocess.run(
            [*self.kubectl_command, *arguments],
            input=input,
            capture_output=True,
            text=True,
            check=False,
            # Nothing of the user's own kubectl settings counts here, and nothing is written to the home folder.
            env={**os.environ, "KUBERC": "off", "KUBECACHEDIR": str(self._layout.kubectl)},
        )
        if check and made.returncode != 0:
            raise KubectlError(made.returncode, made.args, made.stdout, made.stderr)
        return made

    def kubeconfig_for(self, namespace: str, serviceaccount: str) -> Path:
        """Makes access as an existing service account, by a token that holds for a day.

        Raises:
            KubectlError: there is no such account.
        """
        token = self.kubectl("create", "token", serviceaccount, "-n", namespace, "--duration=24h").stdout.strip()
        path = self._layout.kubeconfigs / f"{namespace}-{serviceaccount}.serviceaccount"
        server = api_server(self._layout, self._ports)
        write(path, with_token(server, f"{namespace}-{serviceaccount}", token, namespace))
        return path

    def components(self) -> dict[str, int | None]:
        """The process id of each component; None for one that does not run."""
        found: dict[str, int | None] = control.send(self.data_dir, "status")["components"]
        return found

    def stop_s3(self) -> None:
        """Ends the object store; its data stay."""
        control.send(self.data_dir, "stop-component", name=s3.NAME)

    def start_s3(self) -> None:
        """Starts the object store again, at the same address with the same data."""
        control.send(self.data_dir, "start-component", name=s3.NAME)
        s3.create_buckets(self.s3)

    def start_node(self, name: str) -> None:
        """Starts a node, new or stopped before, and returns once it is ready."""
        control.send(self.data_dir, "start-node", name=name)

    def stop_node(self, name: str) -> None:
        """Ends a node with its pods' processes; the API server still knows it."""
        control.send(self.data_dir, "stop-component", name=f"{PREFIX}{name}")

    def detach(self) -> None:
        """Lets the cluster outlive the process that started it."""
        control.send(self.data_dir, "detach")

    def stop(self) -> None:
        """Ends all its processes. Does nothing if they have ended."""
        end(self._roster.supervisor, grace_seconds=_STOP_SECONDS)
        _end_recorded(self._layout)


def stop(data_dir: Path | str, *, keep_data: bool) -> bool:
    """Ends whatever runs in a cluster's folder, and removes the folder unless told to keep it.

    Returns:
        Whether anything ran.
    """
    layout = Layout(Path(data_dir).resolve())
    roster = Roster.read(layout.roster)
    if roster is None:
        return False
    running = alive(roster.supervisor)
    end(roster.supervisor, grace_seconds=_STOP_SECONDS)
    ended = _end_recorded(layout)
    if not keep_data:
        layout.remove()
    return running or ended


def _end_recorded(layout: Layout) -> bool:
    """Ends what a killed supervisor may have left, which the kernel has normally done, and removes its sockets."""
    roster = Roster.read(layout.roster)
    left = [one for one in roster.processes.values() if alive(one)] if roster else []
    for process in left:
        end(process, grace_seconds=1.0)
    # Another cluster may have taken the ports since: then these files are its own.
    lock = None if roster is None else lock_block(port_locks(), roster.block)
    if roster is not None and lock is not None:
        for path in s3.leftovers(ports_of(roster.block)):
            path.unlink(missing_ok=True)
        os.close(lock)
    return bool(left)


def _launch(request: Request, layout: Layout, progress: Progress) -> None:
    path = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
    with layout.supervisor_log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "devcluster.supervisor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            # Ctrl-C goes to the owner, which ends the cluster in order.
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )
    try:
        _await_ready(process, request, layout, progress)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    # From here on it is followed by its process id, as one that somebody else started.


def _await_ready(process: "subprocess.Popen[bytes]", request: Request, layout: Layout, progress: Progress) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin:
        process.stdin.write(request.encode())
    with process.stdout:
        for line in process.stdout:
            message = json.loads(line)
            if "progress" in message:
                progress(message["progress"])
            elif "failed" in message:
                raise ClusterError(message["failed"])
            elif "ready" in message:
                roster = Roster.read(layout.roster)
                assert roster is not None
                s3.create_buckets(s3.connection(layout.s3, ports_of(roster.block), roster.buckets))
                return
    raise ClusterError(f"the supervisor ended: see {layout.supervisor_log}")
