"""An aiohttp that cannot be spliced: one warning, the plain path, the same bytes."""

import logging

import pytest

from tests.behaviour.conftest import MakeStage
from tests.behaviour.stage import CHAT, MESSAGES, RESPONSES
from tests.provider_answers import anthropic_stream, openai_stream, responses_stream
from tests.upstream_script import Script, body_of


class Renamed:
    """A connector of an aiohttp in which nothing is called as it was."""

    async def close(self) -> None: ...


@pytest.mark.parametrize("works", [True, False])
async def test_streams_run_either_way(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, works: bool
) -> None:
    """The warning names what is wrong and what it costs; nobody else notices."""
    if not works:
        monkeypatch.setattr("gateway.splice.selfcheck.TCPConnector", Renamed)
    with caplog.at_level(logging.WARNING, logger="gateway"):
        stage = await make_stage(start={"spliced": None})
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == (0 if works else 1)
    assert works or "plain path" in warnings[0]
    streams: dict[str, Script] = {
        CHAT: openai_stream(5),
        RESPONSES: responses_stream(5),
        MESSAGES: anthropic_stream(5),
    }
    for path, script in streams.items():
        stage.upstream.next(script)
        heard = await stage.hear(path)
        assert (heard.body, heard.whole) == (body_of(script), True)
    assert len(caplog.records) == (0 if works else 1)
