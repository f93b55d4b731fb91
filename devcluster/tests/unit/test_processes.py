"""Processes that end with their owner, and ports that nobody shares."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from devcluster.ports import NAMES, lock_block, ports_of, reserve
from devcluster.processes import ProcessId, alive, end, handle, identify, own_process_id, parse_stat

WITH_ROOT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}


@given(name=st.text(alphabet="ab() \t", max_size=15))
def test_a_process_stat_is_read_whatever_the_command_is_called(name):
    after = " ".join(["S", "41", *["0"] * 17, "777", "0"])
    found = parse_stat(f"42 ({name}) {after}")
    assert (found.state, found.start_ticks) == ("S", 777)


def test_a_reused_process_id_is_not_taken_for_the_one_that_had_it():
    me = own_process_id()
    stranger = ProcessId(me.pid, me.start_ticks - 1, me.boot)
    assert alive(me)
    assert not alive(stranger)
    assert handle(stranger) is None
    # Would end the tests if it went by the id alone.
    end(stranger, grace_seconds=0.1)


def test_a_process_of_another_boot_is_gone():
    me = own_process_id()
    assert not alive(ProcessId(me.pid, me.start_ticks, "another-boot"))


def test_one_that_ignores_the_request_to_end_is_killed(tmp_path):
    script = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    end(identify(process.pid), grace_seconds=0.1)
    assert process.wait() == -9
    process.stdout.close()


def test_a_spawned_process_dies_with_the_one_that_spawned_it(tmp_path):
    script = (
        "import sys, os, signal; from pathlib import Path; from devcluster.processes import spawn, identify\n"
        "child = spawn(['sleep', '600'], log=Path(sys.argv[1]))\n"
        "print(child.pid, flush=True); sys.stdin.read(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=WITH_ROOT,
    )
    child = handle(identify(int(parent.stdout.readline())))
    parent.communicate()
    assert select.select([child], [], [], 20)[0]
    os.close(child)


def test_all_descendants_of_a_subreaper_are_killed_and_it_learns_how_its_children_ended():
    script = (
        "import subprocess\n"
        "from devcluster.descendants import children, kill_descendants\n"
        "from devcluster.prctl import become_subreaper\n"
        "become_subreaper()\n"
        "made = subprocess.Popen(['sh', '-c', 'setsid sleep 600 & echo $!; exec sleep 600'], stdout=subprocess.PIPE)\n"
        "orphan = int(made.stdout.readline())\n"
        "ended = kill_descendants()\n"
        "print(ended == {made.pid: 9, orphan: 9}, children())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=WITH_ROOT)
    assert done.stdout == "True []\n"


def test_orphans_are_reaped_and_children_that_somebody_waits_for_are_not():
    script = (
        "import os, subprocess\n"
        "from devcluster.descendants import children, reap_orphans\n"
        "awaited, other = (subprocess.Popen(['sh', '-c', f'exit {code}']) for code in (3, 4))\n"
        "for one in (awaited, other):\n"
        "    os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)\n"
        "reap_orphans({awaited.pid})\n"
        "print(children() == [awaited.pid], awaited.wait())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=WITH_ROOT)
    assert done.stdout == "True 3\n"


def test_two_reservations_have_no_port_in_common(tmp_path):
    first, second = reserve(tmp_path), reserve(tmp_path)
    try:
        assert not set(first.by_name.values()) & set(second.by_name.values())
    finally:
        os.close(first.lock)
        os.close(second.lock)


def test_a_block_is_free_again_once_its_holder_lets_go(tmp_path):
    held = reserve(tmp_path)
    assert lock_block(tmp_path, held.block) is None
    os.close(held.lock)
    again = reserve(tmp_path, preferred=held.block)
    os.close(again.lock)
    assert again.block == held.block


@given(blocks=st.sets(st.integers(0, 311), min_size=2, max_size=2))
def test_blocks_never_overlap(blocks):
    first, second = (set(ports_of(block).values()) for block in blocks)
    assert not first & second
    assert len(first) == len(NAMES) + 1
    # Linux gives the ports from 32768 on to outgoing connections.
    assert max(first | second) < 32_768


def test_a_guarded_command_ends_as_it_would_alone():
    made = guarded("exit 7")
    assert made.wait() == 7


def test_a_guard_that_is_ended_leaves_nothing_of_its_command(tmp_path):
    process = guarded("sleep 600 & echo $!; wait", stdout=subprocess.PIPE)
    grandchild = identify(int(process.stdout.readline()))
    process.terminate()
    process.wait()
    process.stdout.close()
    assert not alive(grandchild)


def test_a_guarded_command_dies_with_its_owner(tmp_path):
    script = (
        "import os, subprocess, sys\n"
        "made = subprocess.Popen([sys.executable, '-m', 'devcluster.guard', str(os.getpid()), '--', 'sh', '-c',"
        " 'sleep 600 & echo $!; wait'], stdout=subprocess.PIPE)\n"
        "print(made.stdout.readline().decode(), flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=WITH_ROOT,
    )
    grandchild = handle(identify(int(owner.stdout.readline())))
    owner.kill()
    owner.communicate()
    assert select.select([grandchild], [], [], 20)[0]
    os.close(grandchild)


def guarded(script, **options):
    command = [sys.executable, "-m", "devcluster.guard", str(os.getpid()), "--", "sh", "-c", script]
    return subprocess.Popen(command, env=WITH_ROOT, **options)
