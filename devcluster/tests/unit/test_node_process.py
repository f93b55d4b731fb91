import asyncio
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from devcluster.node.errors import ContainerConfigError, StartError
from devcluster.node.private_root import Mount, mounts_permitted
from devcluster.node.process import ContainerProcess
from devcluster.node.shim import Launch


def a_launch(tmp_path, *arguments, **fields):
    variables = {"PATH": os.environ["PATH"]} | fields.pop("variables", {})
    return Launch(list(arguments), variables, fields.pop("directory", str(tmp_path)), os.getpid(), **fields)


async def run(tmp_path, *arguments, **fields):
    process = await ContainerProcess.start(a_launch(tmp_path, *arguments, **fields), tmp_path / "log")
    return await process.wait()


def existing(*paths):
    return [path for path in paths if os.path.lexists(path)]


def until_logged(tmp_path, line):
    deadline = time.monotonic() + 20
    while line not in logged(tmp_path):
        assert time.monotonic() < deadline


def logged(tmp_path):
    return [line.split(" ", 1)[1] for line in (tmp_path / "log").read_text().splitlines()]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param("exit 0", 0, id="success"),
        pytest.param("exit 75", 75, id="an exit code"),
        pytest.param("kill -TERM $$", 143, id="a signal"),
        pytest.param("kill -KILL $$", 137, id="killed"),
    ],
)
async def test_the_exit_code_is_that_of_a_container(tmp_path, script, code):
    assert await run(tmp_path, "sh", "-c", script) == code


async def test_both_outputs_are_logged_in_order(tmp_path):
    await run(tmp_path, "sh", "-c", "echo $A; pwd; echo error >&2; echo end", variables={"A": "b"})
    assert logged(tmp_path) == ["b", str(tmp_path), "error", "end"]


async def test_what_a_program_leaves_running_is_killed_with_it(tmp_path):
    script = "sleep 300 & echo $!; setsid sleep 300 & echo $!"
    await run(tmp_path, "sh", "-c", script)
    assert not [pid for pid in map(int, logged(tmp_path)) if psutil.pid_exists(pid)]


async def test_a_program_gets_sigterm_alone_and_can_end_in_its_own_way(tmp_path):
    script = "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    process = await ContainerProcess.start(a_launch(tmp_path, "sh", "-c", script), tmp_path / "log")
    await asyncio.to_thread(until_logged, tmp_path, "ready")
    process.terminate()
    assert await process.wait() == 9
    assert logged(tmp_path) == ["ready", "bye"]


async def test_a_program_that_ignores_sigterm_is_killed(tmp_path):
    process = await ContainerProcess.start(
        a_launch(tmp_path, "sh", "-c", "trap '' TERM; echo ready; sleep 300"), tmp_path / "log"
    )
    await asyncio.to_thread(until_logged, tmp_path, "ready")
    process.terminate()
    process.kill()
    assert await process.wait() == 137


@pytest.mark.parametrize(
    "program", [pytest.param("no-such-program", id="not on the path"), pytest.param("/etc/hostname", id="no program")]
)
async def test_a_program_that_can_not_be_executed_is_named(tmp_path, program):
    with pytest.raises(StartError, match=f'exec "{program}": '):
        await run(tmp_path, program)


async def test_affinity_is_what_was_granted(tmp_path):
    first = min(os.sched_getaffinity(0))
    await run(tmp_path, sys.executable, "-c", "import os; print(os.sched_getaffinity(0))", cpus=[first])
    assert logged(tmp_path) == [f"{{{first}}}"]


async def test_volumes_are_mounted_in_the_container_alone(tmp_path):
    for name in ("data", "settings", "root"):
        (tmp_path / name).mkdir()
    (tmp_path / "settings" / "key").write_text("value\n")
    message = tmp_path / "message"
    message.touch()
    mounts = [
        Mount(str(tmp_path / "data"), "/devcluster-test/data"),
        Mount(str(tmp_path / "settings"), "/usr/share/devcluster-test/settings", read_only=True),
        Mount(str(tmp_path / "settings"), "/var/run/devcluster-test", read_only=True),
        Mount(str(message), "/dev/termination-log"),
    ]
    script = (
        "cat /run/devcluster-test/key /usr/share/devcluster-test/settings/key;"
        "echo kept > /devcluster-test/data/file; echo said > /dev/termination-log;"
        "touch /usr/share/devcluster-test/settings/no || echo read-only; touch /dev/shm/devcluster-test; pwd"
    )
    running = run(tmp_path, "sh", "-c", script, root=str(tmp_path / "root"), mounts=mounts, directory="/srv-x/app")
    if mounts_permitted(tmp_path / "try"):
        with pytest.raises(ContainerConfigError):
            await running
        return
    assert await running == 0
    lines = logged(tmp_path)
    assert (lines[:2], lines[-2:]) == (["value", "value"], ["read-only", "/srv-x/app"])
    assert (tmp_path / "data" / "file").read_text() == "kept\n"
    assert message.read_text() == "said\n"
    left = (
        "/devcluster-test",
        "/run/devcluster-test",
        "/usr/share/devcluster-test",
        "/srv-x",
        "/dev/termination-log",
        "/dev/shm/devcluster-test",
    )
    assert not existing(*left)
    assert not list((tmp_path / "root").iterdir())


def test_programs_die_with_the_node(tmp_path):
    node = f"""
import asyncio, os
from pathlib import Path
from devcluster.node.process import ContainerProcess
from devcluster.node.shim import Launch
async def main():
    script = "setsid sleep 300 & echo $!; sleep 300"
    launch = Launch(["sh", "-c", script], dict(os.environ), "/", os.getpid())
    process = await ContainerProcess.start(launch, Path({str(tmp_path / "log")!r}))
    print(process.pid, flush=True)
    await process.wait()
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", node], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        program = psutil.Process(int(running.stdout.readline()))
        while len(family := program.children(recursive=True)) < 2 or not (tmp_path / "log").read_bytes():
            assert program.is_running()
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert psutil.wait_procs([program, *family], timeout=10)[1] == []
