"""A road to a server on loopback that a test can make longer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class SlowRoad:
    """Passes bytes on, each piece late by ``delay_s`` on its way there.

    Attributes:
        port: where it listens.
        delay_s: may be changed at any time.
    """

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._passing: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0
        self.delay_s = 0.0

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take in a connection."""
        self._writers.append(writer)
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:
            writer.close()
            return
        self._writers.append(there_writer)
        for way in (self._there(reader, there_writer), _back(there_reader, writer)):
            task = asyncio.create_task(way)
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)

    async def _there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                await asyncio.sleep(self.delay_s)  # timed: that is how long the road is
                writer.write(data)
        writer.close()

    async def aclose(self) -> None:
        """Let go of every connection."""
        passing = list(self._passing)
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


@asynccontextmanager
async def road_to(port: int) -> AsyncIterator[SlowRoad]:
    """A road to a port of loopback, as short as any."""
    road = SlowRoad(port)
    server = await asyncio.start_server(road.join, "127.0.0.1", 0)
    road.port = server.sockets[0].getsockname()[1]
    try:
        yield road
    finally:
        server.close()
        await road.aclose()
        await server.wait_closed()
