"""What the tests of streams share."""

from collections.abc import AsyncIterator

import pytest

from tests.upstream.ways import WAYS, Way


@pytest.fixture(params=WAYS)
async def way(request: pytest.FixtureRequest) -> AsyncIterator[Way]:
    """A stream on one of the two ways; its connection is closed afterwards."""
    made = WAYS[request.param]()
    yield made
    made.stream.abort()
