"""Traces when their collector is away, slow or wrong, and when there are none: requests never notice."""

import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.behaviour.conftest import MakeStage
from tests.behaviour.stage import CHAT
from tests.behaviour.test_tracing import traced
from tests.otlp_collector import Collector, collecting
from tests.provider_answers import openai_stream
from tests.raw_connection import read_boundary

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """On a free port of loopback; stopped after the test."""
    async with collecting() as started:
        yield started


class Heard(logging.Handler):
    """Whose words come as far as the root logger, whose handlers are those of the process."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.names.append(record.name)


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Listening at the root."""
    handler = Heard()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


async def test_a_collector_that_does_not_answer(collector: Collector, make_stage: MakeStage) -> None:
    """Answers come as ever, while an export hangs."""
    stage = await traced(collector, make_stage)
    stage.upstream.always(openai_stream())
    collector.answers.clear()
    assert (await stage.hear(CHAT)).whole
    await collector.until_asked(1)
    for _ in range(3):
        assert (await stage.hear(CHAT)).whole
    collector.answers.set()


async def test_a_collector_that_refuses(
    collector: Collector, make_stage: MakeStage, caplog: pytest.LogCaptureFixture, heard: Heard
) -> None:
    """The log says so once, with the reason, and once more when it takes them again."""
    stage = await traced(collector, make_stage)
    stage.upstream.always(openai_stream())
    collector.status = 401
    with caplog.at_level("INFO", "gateway"):
        for refused in (1, 2):
            assert (await stage.hear(CHAT)).whole
            await collector.until_asked(refused)
        collector.status = 200
        assert (await stage.hear(CHAT)).whole
        while not any("again" in record.getMessage() for record in caplog.records):
            await read_boundary()
    said = [record.getMessage() for record in caplog.records if "traces" in record.getMessage()]
    assert len(said) == 2
    assert said[0].startswith(f"traces do not reach {collector.url}/v1/traces")
    assert "401" in said[0]
    assert [name for name in heard.names if name.startswith("opentelemetry")] == []


async def test_the_end_sends_what_waits(collector: Collector, make_stage: MakeStage) -> None:
    """A gateway that closes has told of its last request."""
    stage = await traced(collector, make_stage)
    stage.upstream.next(openai_stream())
    await stage.hear(CHAT)
    await stage.leave()
    await stage.gateway.close()
    assert len(collector.spans) == 2


def test_without_traces_nothing_is_imported(tmp_path: Path) -> None:
    """A gateway that runs without them has not one module of OpenTelemetry in it."""
    (tmp_path / "gateway.yaml").write_text(f"stores: {{database_url: 'sqlite:///{tmp_path}/gateway.db'}}\n")
    program = (
        "import asyncio, pathlib, sys\n"
        "from gateway import app, config\n"
        "import gateway.__main__\n"
        "async def run():\n"
        "    loaded = config.load(pathlib.Path(sys.argv[1], 'gateway.yaml'), {})\n"
        "    running = await app.start(loaded, host='127.0.0.1', port=0, access_log=None)\n"
        "    await running.close()\n"
        "asyncio.run(run())\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
