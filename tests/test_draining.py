"""The order in which a gateway stops, told by what its parts are asked to do and when."""

import asyncio
from typing import Any

import pytest

from gateway.draining import AT_ONCE_S, LAST_WORDS_S, LINGER_S, Drain
from tests.raw_connection import read_boundary

LONG_S = 1000.0


class Parts:
    """Stands for a server, a listener and the live streams: what they were asked, in order."""

    def __init__(self, *stands: bool) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.draining = False
        self._stands = list(stands)

    def close(self) -> None:
        self.asked.append(("close", self.draining))

    def retire(self, linger_s: float) -> None:
        self.asked.append(("retire", linger_s))

    async def emptied(self, patience_s: float) -> bool:
        self.asked.append(("emptied", patience_s))
        return not self._stands.pop(0)

    def abort(self) -> None:
        self.asked.append(("abort", None))

    def drain(self) -> int:
        self.asked.append(("drain", None))
        return 3

    def drains(self, background: Any = ()) -> Drain:
        parts: Any = self
        return Drain(parts, parts, parts, background)


async def test_grace_comes_first() -> None:
    """In it everything is as before, but that answers say goodbye."""
    parts = Parts()
    draining = asyncio.create_task(parts.drains().in_order(LONG_S, LONG_S, handed_over=False))
    await read_boundary()
    assert parts.draining
    assert not parts.asked
    draining.cancel()


async def test_then_it_listens_no_more() -> None:
    """What runs has until the end of the time, which began with the grace."""
    parts = Parts(False)
    await parts.drains().in_order(0.0, LONG_S, handed_over=False)
    assert parts.asked == [("close", True), ("retire", LINGER_S), ("emptied", pytest.approx(LONG_S, abs=60))]


async def test_handed_over_gateway_listens_no_more_at_once() -> None:
    """And need not wait for the end of the grace when nobody is there any more."""
    parts = Parts(False, False)
    await parts.drains().in_order(20.0, LONG_S, handed_over=True)
    assert parts.asked == [
        ("close", True),
        ("emptied", 20.0),
        ("close", True),
        ("retire", LINGER_S),
        ("emptied", pytest.approx(LONG_S, abs=60)),
    ]


async def test_at_last_what_runs_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    """It is told, and has a moment to pass it on; what is still there then is broken."""
    parts = Parts(True, True, False)
    await parts.drains().in_order(0.0, 0.0, handed_over=False)
    assert [what for what, _ in parts.asked] == ["close", "retire", "emptied", "drain", "emptied", "abort", "emptied"]
    assert parts.asked[4] == ("emptied", LAST_WORDS_S)
    assert "3 requests were still running" in caplog.text


async def test_nobody_is_broken_who_has_heard_it() -> None:
    """Where all have gone after being told."""
    parts = Parts(True, False)
    await parts.drains().in_order(0.0, 0.0, handed_over=False)
    assert [what for what, _ in parts.asked] == ["close", "retire", "emptied", "drain", "emptied"]


async def test_at_once_there_is_hardly_time() -> None:
    """No connection lingers."""
    parts = Parts(True, True, False)
    await parts.drains().at_once()
    assert parts.asked[1:3] == [("retire", 0.0), ("emptied", pytest.approx(0.0, abs=1e-3))]
    assert parts.asked[4] == ("emptied", AT_ONCE_S)


async def test_work_without_a_client_is_waited_for() -> None:
    """As long as clients would be; at once, it is not."""
    go = asyncio.Event()
    work = asyncio.create_task(go.wait())
    draining = asyncio.create_task(Parts(False).drains([work]).in_order(0.0, LONG_S, handed_over=False))
    await Parts(False).drains([work]).at_once()
    await read_boundary()
    assert not draining.done()
    go.set()
    await draining
