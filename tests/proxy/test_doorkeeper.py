"""The doorkeeper: who sends no head or takes nothing is shown out, everybody else stays."""

import asyncio

from aiohttp import web

from gateway.proxy.doorkeeper import Doorkeeper
from gateway.splice import DownstreamConnection

HEAD_S, WRITE_S = 10.0, 60.0


class Door(asyncio.Transport):
    """A transport that remembers being shut."""

    shut = False

    def abort(self) -> None:
        self.shut = True


async def connection(
    *, since: float = 0.0, requests: int = 0, half_head: float = 0.0, congested: float | None = None
) -> DownstreamConnection:
    """A connection in some state; times are readings of the doorkeeper's clock."""
    made = DownstreamConnection(web.Server(_nobody), on_bad_request=None, loop=asyncio.get_running_loop())
    made.transport = Door()
    made.connected_at, made.half_head_since = since, half_head
    made._request_count = requests
    made.congested, made.congested_since = congested is not None, congested or 0.0
    return made


async def _nobody(request: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError


def is_shut(connection: DownstreamConnection) -> bool:
    assert isinstance(connection.transport, Door)
    return connection.transport.shut


async def test_who_goes_and_who_stays() -> None:
    """At 100 s, with 10 s for heads and 60 s for reading."""
    goes = [
        await connection(since=89.0),
        await connection(since=0.0, requests=3, half_head=89.0),
        await connection(since=0.0, requests=3, congested=39.0),
    ]
    stays = [
        await connection(since=91.0),
        await connection(since=0.0, requests=3),
        await connection(since=0.0, requests=3, half_head=91.0),
        await connection(since=0.0, requests=3, congested=41.0),
    ]
    doorkeeper = Doorkeeper(HEAD_S, WRITE_S, lambda: 100.0)
    assert doorkeeper.sweep([*stays, *goes, object()]) == len(goes)
    assert [is_shut(one) for one in goes] == [True] * len(goes)
    assert [is_shut(one) for one in stays] == [False] * len(stays)


async def test_closed_connections_are_left_alone() -> None:
    """What has no transport any more needs no showing out."""
    gone = await connection(since=0.0)
    gone.transport = None
    assert Doorkeeper(HEAD_S, WRITE_S, lambda: 100.0).sweep([gone]) == 0
