"""An API server that gives every connection the same answer, good or bad, and hangs up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

PATIENCE_SECONDS = 20.0


def an_answer(status: str, body: bytes, length: int | None = None) -> bytes:
    """An answer over HTTP; ``length`` is what it claims to have, if that is not the truth."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


@dataclass
class ApiServer:
    """Where it is, and how often it was asked."""

    answer: bytes | None
    """``None`` keeps whoever asks waiting."""
    address: str = ""
    asked: int = 0
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            async with self._news:
                self._news.notify_all()
            if self.answer is None:
                await reader.read()
            else:
                writer.write(self.answer)
                await writer.drain()
        writer.close()

    async def until_asked(self, times: int) -> None:
        """Wait until it was asked so often."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._news:
            await self._news.wait_for(lambda: self.asked >= times)


@contextlib.asynccontextmanager
async def an_api_server(answer: bytes | None) -> AsyncIterator[ApiServer]:
    """A server of its own on loopback."""
    server = ApiServer(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    server.address = f"http://{host}:{port}"
    yield server
    listening.close()
