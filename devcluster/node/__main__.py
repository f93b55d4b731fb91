"""``python -m devcluster.node``: runs the local node until SIGTERM or Ctrl-C."""

import argparse
import asyncio
import json
import logging
import signal
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from .agent import Agent
from .api import Api
from .devices import Devices
from .events import Events
from .machine import Machine, detect
from .private_root import mounts_permitted
from .registration import Registration
from .server import Server, tls_context

_log = logging.getLogger("devcluster.node")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devcluster.node", description="The local node.")
    parser.add_argument("--kubeconfig", required=True, help="how to reach the API server")
    parser.add_argument("--name", required=True, help="the Node's name")
    parser.add_argument("--data-dir", required=True, type=Path, help="folder for the pods' files and logs")
    parser.add_argument("--serving-cert", required=True, type=Path)
    parser.add_argument("--serving-key", required=True, type=Path)
    parser.add_argument("--client-ca", required=True, type=Path, help="authority of the callers' certificates")
    parser.add_argument("--max-pods", type=int, default=110)
    parser.add_argument(
        "--images", type=json.loads, default={}, help="JSON object: image -> the command that stands for it"
    )
    return parser.parse_args()


async def serve(options: argparse.Namespace) -> None:
    """Runs the node until it is asked to end; then nothing that it started is left."""
    directory = options.data_dir.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    # Forks, so it comes before anything else runs.
    refused = mounts_permitted(directory / "mount-test")
    if refused:
        _log.warning("nothing can be mounted here (%s): pods with volumeMounts will wait", refused)
    api = await Api.connect(options.kubeconfig, directory / "credentials")
    capacity = detect(directory, options.max_pods)
    machine = Machine(
        name=options.name,
        directory=directory,
        api=api,
        events=Events(api, options.name),
        capacity=capacity,
        mounts_refused=refused,
        devices=Devices(capacity.cpus, capacity.gpus),
        images=options.images,
    )
    agent = Agent(machine)
    context = tls_context(options.serving_cert, options.serving_key, options.client_ca)
    server = Server(api, agent, options.name, context)
    port = await server.start()
    try:
        registration = Registration(api, options.name, capacity, port)
        await _until(ended, registration.run(), agent.run(), machine.events.run())
    finally:
        await agent.stop()
        await server.stop()
        await api.close()


async def _until(ended: asyncio.Event, *services: Coroutine[Any, Any, None]) -> None:
    """Runs the services until the event, or until one of them fails."""
    tasks = [asyncio.create_task(one) for one in (*services, _wait(ended))]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


async def _wait(ended: asyncio.Event) -> None:
    await ended.wait()


def main() -> None:
    """The program's entry point."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(_arguments()))


if __name__ == "__main__":
    main()
