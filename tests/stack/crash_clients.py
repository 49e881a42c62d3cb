"""What clients of a gateway that may die have seen of their answers; the SDKs as such clients."""

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx2
import openai

from gateway.core.pricing import Price, cost_nanousd
from gateway.core.tokens import Usage
from tests.raw_connection import EndedEarly

PRICE = Price.model_validate({"input": "0.15", "output": "0.60"})
MODEL, CLAUDE = "sim-fast", "claude-sim-fast"
TOKENS = 24
GONE = (
    EndedEarly,
    ConnectionError,
    openai.OpenAIError,
    anthropic.AnthropicError,
    httpx2.HTTPError,
    json.JSONDecodeError,
)
"""How a client of any kind learns that the gateway died."""


@dataclass
class Seen:
    """What one client has seen of its answer.

    Attributes:
        content: some of it.
        closed: its closing event, or the whole body.
        cost_nanousd: by the usage that the answer reported.
    """

    content: bool = False
    closed: bool = False
    input_tokens: int = 0
    cost_nanousd: int = 0

    def report(self, input_tokens: int | None, output_tokens: int) -> None:
        """Take in a usage figure; of Anthropic's the last one may leave out the input, which the first has."""
        self.input_tokens = input_tokens or self.input_tokens
        self.cost_nanousd = cost_nanousd(Usage(input=self.input_tokens, output=output_tokens), PRICE)


class SdkClients:
    """The SDKs as clients that ask one question after another until they are told to stop."""

    def __init__(self, url: str, key: str, begin: Callable[[], tuple[str, Seen]]) -> None:
        self._begin = begin
        self._stop = threading.Event()
        self._async_openai = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
        self._anthropic = anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0)
        self._openai = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)

    async def __aenter__(self) -> "SdkClients":
        self._tasks = [asyncio.create_task(self._repeat(ask)) for ask in (self._ask_openai, self._ask_anthropic)]
        self._thread = asyncio.create_task(asyncio.to_thread(self._repeat_in_thread))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks, self._thread)
        await self._async_openai.close()
        await self._anthropic.close()
        self._openai.close()

    async def _repeat(self, ask: Callable[[str, Seen], Any]) -> None:
        while not self._stop.is_set():
            with suppress(*GONE):
                await ask(*self._begin())
            await asyncio.sleep(0.01)  # timed: a gateway that is down is not asked without a pause

    def _repeat_in_thread(self) -> None:
        while not self._stop.wait(0.01):
            with suppress(*GONE):
                self._ask_sync(*self._begin())

    def _ask_sync(self, name: str, seen: Seen) -> None:
        stream = self._openai.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Say something."}],
            max_tokens=TOKENS,
            stream=True,
            stream_options={"include_usage": True},
            extra_headers={"x-request-id": name},
        )
        for chunk in stream:
            if chunk.usage is not None:
                seen.report(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
            seen.content = seen.content or any(choice.delta.content for choice in chunk.choices)
        seen.closed = True

    async def _ask_openai(self, name: str, seen: Seen) -> None:
        answer = await self._async_openai.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Say something."}],
            max_tokens=TOKENS,
            extra_headers={"x-request-id": name},
        )
        assert answer.usage is not None
        seen.content = True
        seen.report(answer.usage.prompt_tokens, answer.usage.completion_tokens)
        seen.closed = True

    async def _ask_anthropic(self, name: str, seen: Seen) -> None:
        async with self._anthropic.messages.stream(
            model=CLAUDE,
            messages=[{"role": "user", "content": "Say something."}],
            max_tokens=TOKENS,
            extra_headers={"x-request-id": name},
        ) as stream:
            async for event in stream:
                seen.content = seen.content or event.type == "text"
                if event.type == "message_stop":
                    usage = event.message.usage
                    seen.report(usage.input_tokens, usage.output_tokens)
                    seen.closed = True
