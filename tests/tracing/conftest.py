"""A collector, listening."""

from collections.abc import AsyncIterator

import pytest

from tests.otlp_collector import Collector, collecting


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """On a free port of loopback; stopped after the test."""
    async with collecting() as started:
        yield started
