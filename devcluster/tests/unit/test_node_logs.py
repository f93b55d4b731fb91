from datetime import UTC, datetime

import pytest

from devcluster.node.logs import LINE_BYTES, LogOptions, LogWriter, log_tail, select

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
STORED = [b"2026-01-01T11:58:00.000000Z one", b"2026-01-01T11:59:00.000000Z two", b"2026-01-01T11:59:59.000000Z three"]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        pytest.param({}, [b"one", b"two", b"three"], id="all"),
        pytest.param({"tailLines": "2"}, [b"two", b"three"], id="the last lines"),
        pytest.param({"tailLines": "0"}, [], id="none"),
        pytest.param({"sinceSeconds": "60"}, [b"two", b"three"], id="the last seconds"),
        pytest.param({"sinceTime": "2026-01-01T11:59:30Z"}, [b"three"], id="since a time"),
        pytest.param({"timestamps": "true", "tailLines": "1"}, [STORED[2]], id="with times"),
    ],
)
def test_options_choose_what_is_shown(query, shown):
    assert list(select(STORED, LogOptions.parse(query, NOW))) == shown


def test_lines_are_stamped_when_they_end(tmp_path):
    log = LogWriter(tmp_path / "c" / "0.log")
    log.write(b"first\nsec")
    assert len(log.path.read_bytes().splitlines()) == 1
    log.write(b"ond\nrest")
    log.close()
    lines = log.path.read_bytes().splitlines()
    assert [line.split(b" ", 1)[1] for line in lines] == [b"first", b"second", b"rest"]


def test_an_endless_line_is_cut(tmp_path):
    log = LogWriter(tmp_path / "0.log")
    log.write(b"x" * (LINE_BYTES + 5))
    log.close()
    assert [len(line.split(b" ", 1)[1]) for line in log.path.read_bytes().splitlines()] == [LINE_BYTES, 5]


def test_the_tail_is_what_the_program_wrote_last(tmp_path):
    log = LogWriter(tmp_path / "0.log")
    log.write(b"".join(b"line %d\n" % n for n in range(10_000)))
    log.close()
    assert log_tail(log.path, 15) == b"9998\nline 9999\n"
    assert log_tail(tmp_path / "none.log", 20) == b""
