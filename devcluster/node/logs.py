"""Container logs: one line of the program is one line of the file, after a time stamp and a space."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from .clock import parse_rfc3339, rfc3339_micro

# A line longer than this is cut into several, as container runtimes do, so that memory stays bounded.
LINE_BYTES = 16 * 1024


@dataclass(frozen=True)
class LogOptions:
    """Which part of a log to show. ``limit_bytes`` counts what is shown, not what is stored."""

    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    limit_bytes: int | None = None

    @classmethod
    def parse(cls, query: dict[str, str], now: datetime) -> "LogOptions":
        """Reads the query of the kubelet's ``containerLogs``.

        Raises:
            ValueError: A value is malformed.
        """
        since = parse_rfc3339(query["sinceTime"]) if query.get("sinceTime") else None
        if query.get("sinceSeconds"):
            since = now - timedelta(seconds=int(query["sinceSeconds"]))
        numbers = {key: int(query[key]) for key in ("tailLines", "limitBytes") if query.get(key)}
        return cls(
            follow=query.get("follow") == "true",
            timestamps=query.get("timestamps") == "true",
            tail_lines=numbers.get("tailLines"),
            since=since,
            limit_bytes=numbers.get("limitBytes"),
        )


class LogWriter:
    """Stamps what a program writes and appends it to its log file, line by line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._partial = b""

    def write(self, chunk: bytes) -> None:
        """Takes the next bytes; an unfinished line is kept until its end arrives."""
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        while len(self._partial) >= LINE_BYTES:
            lines.append(self._partial[:LINE_BYTES])
            self._partial = self._partial[LINE_BYTES:]
        if lines:
            stamp = rfc3339_micro().encode() + b" "
            self._file.write(b"".join(stamp + line + b"\n" for line in lines))

    def close(self) -> None:
        """Writes what is left of an unfinished line."""
        if self._partial:
            self.write(b"\n")
        self._file.close()


def _stamp_and_text(line: bytes) -> tuple[bytes, bytes]:
    stamp, _, text = line.partition(b" ")
    return stamp, text


def select(lines: Iterable[bytes], options: LogOptions) -> Iterator[bytes]:
    """Yields the stored lines that the options ask for, as they are shown (byte limit aside)."""
    chosen = list(lines)
    if options.since is not None:
        since = options.since
        chosen = [one for one in chosen if parse_rfc3339(_stamp_and_text(one)[0].decode()) >= since]
    if options.tail_lines is not None:
        chosen = chosen[-options.tail_lines :] if options.tail_lines > 0 else []
    return (one if options.timestamps else _stamp_and_text(one)[1] for one in chosen)


def log_tail(path: Path, size: int) -> bytes:
    """Returns about the last ``size`` bytes of what the program wrote, without time stamps."""
    try:
        with path.open("rb") as file:
            length = file.seek(0, 2)
            file.seek(max(0, length - 4 * size - LINE_BYTES))
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return b""
    return b"".join(_stamp_and_text(one)[1] for one in lines)[-size:]
