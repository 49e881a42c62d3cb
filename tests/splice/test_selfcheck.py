"""The self-check: it passes on the installed aiohttp, and says what is missing on another."""

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.client_proto import ResponseHandler

from gateway.splice import SpliceUnavailable, self_check
from gateway.splice.upstream import UpstreamProtocol


@pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
async def test_the_installed_aiohttp_can_be_spliced() -> None:
    """On either loop."""
    await self_check()


def _raises(*_: Any, **__: Any) -> None:
    raise AttributeError("renamed")


def _ignores(*_: Any, **__: Any) -> None:
    """Does nothing."""


Break = Callable[[pytest.MonkeyPatch], None]
BREAKS: dict[str, tuple[Break, str]] = {
    "a parameter that is gone": (
        lambda patch: patch.setattr(ResponseHandler, "set_response_params", _raises),
        "AttributeError: renamed",
    ),
    "a parser that takes the body too": (
        lambda patch: patch.setattr(UpstreamProtocol, "data_received", ResponseHandler.data_received),
        "does not stay behind the head",
    ),
    "an answer that never comes": (
        lambda patch: patch.setattr(ResponseHandler, "data_received", _ignores),
        "TimeoutError",
    ),
    "heads that are written otherwise": (
        lambda patch: patch.setattr("gateway.splice.selfcheck.serialize_head", lambda *_: b""),
        "serialised in another way",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_another_aiohttp_is_found_out(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever is different ends in the one exception that makes the gateway step back."""
    change, words = BREAKS[name]
    change(monkeypatch)
    with pytest.raises(SpliceUnavailable, match=words):
        await self_check()
