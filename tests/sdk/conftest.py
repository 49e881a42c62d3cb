"""The built-in demo as users start it: the simulator behind the gateway, and the SDKs of both providers in front."""

import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import anthropic
import openai
import pytest
from pydantic import SecretStr

from gateway import app
from gateway.app import Gateway
from gateway.config import DEMO_KEY, demo
from gateway.simulator import ANTHROPIC_MODELS, OPENAI_MODELS, SimulatorSettings, start
from gateway.stores.settings import StoresSettings
from gateway.upstream.settings import RetrySettings


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo; ``openai_base`` and ``anthropic_base`` are what its greeting prints."""

    gateway: Gateway
    written: io.StringIO

    @property
    def openai_base(self) -> str:
        return f"{self.gateway.url}/v1"

    @property
    def anthropic_base(self) -> str:
        return self.gateway.url

    def access_log(self) -> list[dict[str, Any]]:
        self.gateway._access_log.flush()
        return [json.loads(line) for line in self.written.getvalue().splitlines()]


@pytest.fixture
async def served(new_database: Callable[[], str]) -> AsyncIterator[Demo]:
    """A thousand times faster than real, on a database of its own, and a failed target is not waited for."""
    simulator = await start(settings=SimulatorSettings(speed=1000))
    config = demo(
        {},
        simulator_base=simulator.base_url,
        openai_models=OPENAI_MODELS,
        anthropic_models=ANTHROPIC_MODELS,
        local_key=DEMO_KEY,
    )
    never = {"retries": RetrySettings(share=0, floor=0)}
    config = replace(
        config,
        providers={name: settings.model_copy(update=never) for name, settings in config.providers.items()},
        stores=StoresSettings(database_url=SecretStr(new_database())),
    )
    written = io.StringIO()
    gateway = await app.start(config, host="127.0.0.1", port=0, access_log=written, local_only=frozenset({"demo"}))
    yield Demo(gateway, written)
    await gateway.close()
    await simulator.close()


@pytest.fixture
async def aopenai(served: Demo) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=served.openai_base, api_key=DEMO_KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def aanthropic(served: Demo) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=served.anthropic_base, api_key=DEMO_KEY, max_retries=0) as client:
        yield client
