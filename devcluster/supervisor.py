"""The process above all others of a cluster: ``python -m devcluster.supervisor`` with a JSON request on its input.

It writes JSON lines to its output until the cluster is ready or has failed to start, then takes commands through the
socket of `devcluster.control`. It ends, and ends all that it started, when it is told to, when it gets SIGTERM or
SIGINT, or when the owner that it was given ends. Should it be killed itself, the kernel kills its children.
"""

import asyncio
import fcntl
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from . import control, controlplane, nodes, s3
from .components import Component
from .descendants import kill_descendants, reap_orphans
from .layout import Layout, port_locks
from .ports import NoFreePortsError, Reservation, reserve
from .prctl import become_subreaper
from .probing import Prober, node_ready
from .processes import ProcessId, handle, own_process_id
from .roster import Roster, RosterError
from .units import ComponentError, Unit

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_CONDITION_SECONDS = 60.0
# Variables that the programs would take for their own configuration, and keys that pods must not see.
_STRIPPED = ("AWS_", "ETCD_", "WEED_", "S3_", "KUBECONFIG")


@dataclass(frozen=True)
class Request:
    """What to run, for whom."""

    root: str
    name: str
    programs: dict[str, str]
    weed: str
    nodes: list[str]
    owner: ProcessId
    images: Mapping[str, Sequence[str]]
    """Image -> the command that stands for it on local nodes."""
    buckets: Sequence[str]
    identities: Mapping[str, s3.Rights]

    def encode(self) -> bytes:
        """The document on the supervisor's input."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, document: bytes) -> "Request":
        """The reverse of `encode`."""
        fields = json.loads(document)
        identities = {
            name: s3.Rights(tuple(rights["reads"]), tuple(rights["writes"]))
            for name, rights in fields["identities"].items()
        }
        return cls(**fields | {"owner": ProcessId(**fields["owner"]), "identities": identities})


def variables_without(environment: dict[str, str], prefixes: tuple[str, ...]) -> dict[str, str]:
    """An environment without the variables whose names start with any of the prefixes."""
    return {name: value for name, value in environment.items() if not name.startswith(prefixes)}


class Supervisor:
    """The units of one cluster."""

    def __init__(self, request: Request, reservation: Reservation, tell: Callable[..., None]) -> None:
        self._request = request
        self._layout = Layout(Path(request.root))
        self._ports = reservation.by_name
        self._programs = {name: Path(path) for name, path in request.programs.items()}
        self._tell = tell
        self._units: dict[str, Unit] = {}
        self._variables = variables_without(dict(os.environ), _STRIPPED)
        self._roster = Roster(request.name, reservation.block, tuple(request.buckets), own_process_id())
        self._ended = asyncio.Event()
        self._owner: int | None = None
        controlplane.make_credentials(self._layout, self._ports)
        s3.make_identities(self._layout.s3, request.identities)
        self._prober = Prober(self._layout)

    async def run(self) -> None:
        """Starts everything, serves until the end is asked for, ends everything."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._ended.set)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        self._owner = handle(self._request.owner)
        if self._owner is None:
            return
        loop.add_reader(self._owner, self._ended.set)
        self._record()
        listening = control.listening_socket(self._layout.root)
        server = await asyncio.start_unix_server(self._serve, sock=listening)
        try:
            if await self._unless_ended(self._start()):
                self._tell(ready=True)
                await self._ended.wait()
        except* ComponentError as group:
            self._tell(failed=str(_first(group)))
        finally:
            server.close()
            await self._stop()

    async def _start(self) -> None:
        layout, ports, programs = self._layout, self._ports, self._programs
        async with asyncio.TaskGroup() as group:
            store = s3.component(layout.s3, ports, Path(self._request.weed))
            group.create_task(self._run_component(store))
            self._tell(progress="starting etcd")
            await self._run_component(controlplane.etcd(layout, ports, programs))
            self._tell(progress="starting the API server")
            await self._run_component(controlplane.kube_apiserver(layout, ports, programs))
            self._tell(progress="starting the controller manager, the scheduler and the nodes")
            group.create_task(self._run_component(controlplane.kube_controller_manager(layout, ports, programs)))
            group.create_task(self._run_component(controlplane.kube_scheduler(layout, ports, programs)))
            for name in self._request.nodes:
                group.create_task(self._start_node(name))
            # Until the controllers have made it, no pod is admitted to the namespace.
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            await self._condition("the default service account", account, lambda found: found is not None)

    async def _start_node(self, name: str) -> None:
        component = nodes.local_node(self._layout, self._ports, name, self._request.images)
        unit = self._unit(component)
        unit.start()
        await self._condition(f"node {name}", f"/api/v1/nodes/{name}", node_ready, unit)
        await unit.ready(self._prober)

    async def _run_component(self, component: Component) -> None:
        unit = self._unit(component)
        unit.start()
        await unit.ready(self._prober)

    def _unit(self, component: Component) -> Unit:
        if component.name not in self._units:
            log = self._layout.log(component.name)
            self._units[component.name] = Unit(component, log, self._variables, self._record)
        return self._units[component.name]

    async def _condition(
        self, what: str, path: str, holds: Callable[[dict[str, Any] | None], bool], unit: Unit | None = None
    ) -> None:
        """Waits until the API server's answer is as wanted."""
        try:
            async with asyncio.timeout(_CONDITION_SECONDS):
                while not holds(await self._prober.document(self._ports["apiserver"], path)):
                    if unit is not None:
                        unit.check()
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise ComponentError(f"{what} was not ready within {_CONDITION_SECONDS:.0f} s: see the logs") from None

    async def _stop(self) -> None:
        """Ends the nodes with their pods first, so that they can still say so, then the rest at once."""
        of_nodes = [unit for name, unit in self._units.items() if name.startswith(nodes.PREFIX)]
        await asyncio.gather(*(unit.stop() for unit in of_nodes))
        await asyncio.gather(*(unit.stop() for unit in self._units.values()))
        kill_descendants()

    async def _unless_ended(self, work: Coroutine[Any, Any, None]) -> bool:
        """Does the work, or drops it when the end is asked for; says whether it was done."""
        task = asyncio.create_task(work)
        ended = asyncio.create_task(self._ended.wait())
        await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return False
        task.result()
        return True

    def _reap(self) -> None:
        reap_orphans({unit.process.pid for unit in self._units.values() if unit.process is not None})

    def _record(self) -> None:
        processes = {name: unit.process_id for name, unit in self._units.items() if unit.process_id is not None}
        self._roster = replace(self._roster, processes=processes)
        self._roster.write(self._layout.roster)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            try:
                answer = await self._obey(json.loads(await reader.readline()))
            except (ComponentError, KeyError, ValueError) as error:
                answer = {"error": str(error)}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _obey(self, order: dict[str, str]) -> dict[str, Any]:
        command, name = order["command"], order.get("name", "")
        if command == "detach":
            self._detach()
        elif command == "stop":
            self._ended.set()
        elif command == "start-node":
            await self._start_node(name)
        elif command == "start-component":
            unit = self._known(name)
            unit.start()
            await unit.ready(self._prober)
        elif command == "stop-component":
            await self._known(name).stop()
        elif command != "status":
            raise ValueError(f"unknown command {command!r}")
        return {"components": {one: unit.process.pid if unit.process else None for one, unit in self._units.items()}}

    def _known(self, name: str) -> Unit:
        if name not in self._units:
            raise ValueError(f"no component {name!r}; there are {', '.join(sorted(self._units))}")
        return self._units[name]

    def _detach(self) -> None:
        if self._owner is not None:
            asyncio.get_running_loop().remove_reader(self._owner)
            os.close(self._owner)
            self._owner = None


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def _tell(**document: object) -> None:
    # Whoever started this may be gone.
    with suppress(BrokenPipeError):
        os.write(1, json.dumps(document).encode() + b"\n")
    if "progress" not in document:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)


def main() -> None:
    """The program's entry point."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    request = Request.decode(sys.stdin.buffer.read())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    become_subreaper()
    layout = Layout(Path(request.root))
    layout.make()
    with layout.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            before = Roster.read(layout.roster)
            reservation = reserve(port_locks(), preferred=before.block if before else None)
        except BlockingIOError:
            _tell(failed=f"a cluster already runs in {layout.root}")
            return
        except (NoFreePortsError, RosterError) as error:
            _tell(failed=str(error))
            return
        asyncio.run(Supervisor(request, reservation, _tell).run())
        os.close(reservation.lock)


if __name__ == "__main__":
    main()
