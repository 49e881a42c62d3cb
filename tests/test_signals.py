"""Signals: what each of them makes of a running gateway, and what two of them do."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from gateway.handover import NoSuccessor
from gateway.proxy.settings import ServerSettings
from gateway.signals import Signals, serve_until_told
from tests.raw_connection import read_boundary

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])

HANDED = (5, 6)


class HandGateway:
    """Stands for a gateway: what it was told, and a drain that ends when the test says so."""

    def __init__(self) -> None:
        self.config = self
        self.server = ServerSettings()
        self.descriptors = HANDED
        self.told: list[str] = []
        self.reloading = self
        self.reread: asyncio.Queue[None] = asyncio.Queue()
        self.reloads = 0
        self.drained = asyncio.Event()

    async def drain(self, *, handed_over: bool) -> None:
        self.told.append("drain, handed over" if handed_over else "drain")
        await self.drained.wait()

    async def again(self) -> None:
        self.reloads += 1
        await self.reread.get()

    async def close(self) -> None:
        self.told.append("close")


class HandSuccession:
    """Stands for starting processes: one answer after the other, each when the test gives it."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[int | str] = asyncio.Queue()
        self.asked = 0
        self.cancelled = False

    async def start(self, descriptors: Sequence[int]) -> int:
        assert descriptors == HANDED
        self.asked += 1
        try:
            answer = await self.answers.get()
        except asyncio.CancelledError:
            await read_boundary()
            self.cancelled = True
            raise
        if isinstance(answer, str):
            raise NoSuccessor(answer)
        return answer


class Life:
    """A process from its start to its end."""

    def __init__(self) -> None:
        self.gateway = HandGateway()
        self.succession = HandSuccession()
        self.notified: list[str] = []
        stands_for: Any = self.gateway
        starts: Any = self.succession
        self.serving = asyncio.create_task(serve_until_told(stands_for, Signals(), starts, self.notified.append))

    async def tells(self, *told: str) -> None:
        """Waits until the gateway has been told exactly this."""
        while len(self.gateway.told) < len(told):
            await read_boundary()
        assert self.gateway.told == list(told)

    async def starts(self, count: int) -> None:
        """Waits until so many successors have been started."""
        while self.succession.asked < count:
            await read_boundary()
        assert self.succession.asked == count

    async def rereads(self, count: int) -> None:
        """Waits until the configuration has been asked for so many times."""
        while self.gateway.reloads < count:
            await read_boundary()
        assert self.gateway.reloads == count

    async def ends(self) -> None:
        self.gateway.drained.set()
        await self.serving


@pytest.fixture
async def life() -> AsyncIterator[Life]:
    """A process that has begun to serve; its signal handlers go with the test's event loop."""
    life = Life()
    await read_boundary()
    yield life
    assert life.serving.done()


async def logged(caplog: pytest.LogCaptureFixture, words: str) -> None:
    """Waits for words in the log."""
    while words not in caplog.text:
        await read_boundary()


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_first_signal_drains(life: Life, number: signal.Signals) -> None:
    """And that is the end."""
    send(number)
    await life.tells("drain")
    assert life.notified == ["STOPPING=1"]
    await life.ends()
    await life.tells("drain")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_second_signal_stops_at_once(life: Life, number: signal.Signals) -> None:
    """Whichever of the two it is; the drain is not waited for."""
    send(signal.SIGTERM)
    await life.tells("drain")
    send(number)
    await life.tells("drain", "close")
    await life.serving


async def test_successor_lets_this_one_drain(life: Life) -> None:
    """Once it is ready; systemd learns who is the main process now."""
    send(signal.SIGUSR2)
    await life.starts(1)
    await life.tells()
    life.succession.answers.put_nowait(77)
    await life.tells("drain, handed over")
    assert life.notified == ["MAINPID=77"]
    await life.ends()


async def test_failed_successor_changes_nothing(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    """The log says why, and the next signal tries again."""
    send(signal.SIGUSR2)
    await life.starts(1)
    life.succession.answers.put_nowait("it was ill")
    await logged(caplog, "this process goes on: it was ill")
    await life.tells()
    send(signal.SIGUSR2)
    await life.starts(2)
    life.succession.answers.put_nowait(78)
    await life.tells("drain, handed over")
    await life.ends()


async def test_one_successor_at_a_time(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    """While one is being started, and after one has taken over, another is not."""
    send(signal.SIGUSR2)
    await life.starts(1)
    send(signal.SIGUSR2)
    await logged(caplog, "SIGUSR2 is ignored: a successor has been started already")
    life.succession.answers.put_nowait(79)
    await life.tells("drain, handed over")
    caplog.clear()
    send(signal.SIGUSR2)
    await logged(caplog, "SIGUSR2 is ignored")
    await life.ends()
    assert life.succession.asked == 1


async def test_stopping_process_has_no_successor(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    """Who wants it to stop does not want another one."""
    send(signal.SIGTERM)
    await life.tells("drain")
    send(signal.SIGUSR2)
    await logged(caplog, "SIGUSR2 is ignored: this process is stopping")
    await life.ends()
    assert life.succession.asked == 0


async def test_stopping_ends_the_successor_that_is_not_ready(life: Life) -> None:
    """The drain begins at once, and the process does not leave before it has ended what it started."""
    send(signal.SIGUSR2)
    await life.starts(1)
    send(signal.SIGTERM)
    await life.tells("drain")
    assert life.notified == ["STOPPING=1"]
    await life.ends()
    assert life.succession.cancelled


async def test_handed_over_process_stops_at_once_on_the_second_signal(life: Life) -> None:
    """The first asks for what it does already: systemd sends it to all processes of a service."""
    send(signal.SIGUSR2)
    life.succession.answers.put_nowait(80)
    await life.tells("drain, handed over")
    send(signal.SIGTERM)
    await read_boundary()
    await read_boundary()
    await life.tells("drain, handed over")
    send(signal.SIGTERM)
    await life.tells("drain, handed over", "close")
    await life.serving


async def test_drain_that_fails_is_not_silent(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the process with its own error."""

    async def fail(*, handed_over: bool) -> None:
        raise OSError("no")

    monkeypatch.setattr(life.gateway, "drain", fail)
    send(signal.SIGTERM)
    with pytest.raises(OSError, match="no"):
        await life.serving


async def test_hangup_reads_the_configuration_again(life: Life) -> None:
    """As often as it comes; what comes while the file is read asks for one more reading, however often."""
    send(signal.SIGHUP)
    await life.rereads(1)
    for _ in range(3):
        send(signal.SIGHUP)
        await read_boundary()
    await life.rereads(1)
    life.gateway.reread.put_nowait(None)
    await life.rereads(2)
    life.gateway.reread.put_nowait(None)
    send(signal.SIGHUP)
    await life.rereads(3)
    await life.tells()
    send(signal.SIGTERM)
    await life.ends()


async def test_stopping_process_reads_nothing_again(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    """It would be for nobody; and a reading that is under way does not hold the stop up."""
    send(signal.SIGHUP)
    await life.rereads(1)
    send(signal.SIGTERM)
    await life.tells("drain")
    send(signal.SIGHUP)
    await logged(caplog, "SIGHUP is ignored: this process is stopping")
    await life.ends()
    await life.rereads(1)
