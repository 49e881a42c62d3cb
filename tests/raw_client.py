"""A client for tests that need exact bytes: pieces, pipelines, half closes, resets, framing as sent."""

import asyncio
import json
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.raw_connection import EndedEarly, RawConnection
from tests.raw_http import BODILESS, Chunk, MessageHead, fields_wire


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; ``chunks`` keeps the framing and is None where the body was not chunked."""

    head: MessageHead
    body: bytes
    chunks: list[Chunk] | None = None

    @property
    def status(self) -> int:
        return self.head.status

    def json(self) -> Any:
        return json.loads(self.body)


def request_wire(
    method: str, path: str, *headers: tuple[str, str], body: bytes | None = None, version: str = "HTTP/1.1"
) -> bytes:
    """Returns a request with exactly these headers, plus ``Content-Length`` where a body has no framing."""
    fields = list(headers)
    framed = {"content-length", "transfer-encoding"} & {name.lower() for name, _ in fields}
    if body is not None and not framed:
        fields.append(("Content-Length", str(len(body))))
    return f"{method} {path} {version}\r\n".encode("latin-1") + fields_wire(fields) + b"\r\n" + (body or b"")


def json_request_wire(path: str, document: object, *headers: tuple[str, str], host: str = "gateway") -> bytes:
    """Returns a POST of a JSON document with ``Host`` and ``Content-Type``."""
    body = json.dumps(document).encode()
    return request_wire("POST", path, ("Host", host), ("Content-Type", "application/json"), *headers, body=body)


class RawClient(RawConnection):
    """One connection, used as ``async with await RawClient.connect(url) as client``; leaving aborts it."""

    @classmethod
    async def connect(cls, url: str, *, tls: ssl.SSLContext | None = None, held_bytes: int = 65536) -> Self:
        """Connects to the host and port of a URL.

        Args:
            url: ``http://…`` or ``https://…`` with a port; the path is not used.
            tls: trust for an ``https`` URL.
            held_bytes: unread bytes above which reading pauses until the test reads.
        """
        parts = urlsplit(url)
        _, client = await asyncio.get_running_loop().create_connection(
            lambda: cls(held_bytes=held_bytes, half_open=True),
            parts.hostname or "",
            parts.port or 0,
            ssl=(tls or True) if parts.scheme == "https" else None,
        )
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.abort()

    async def send(self, *pieces: bytes) -> None:
        """Writes each piece so that the peer sees it as a read of its own."""
        await self.write_apart(*pieces)

    async def post(self, path: str, document: object, *headers: tuple[str, str]) -> None:
        """Sends a JSON document; the answer is read with :meth:`answer`, or piece by piece."""
        await self.send(json_request_wire(path, document, *headers))

    async def pipeline(self, *requests: bytes) -> None:
        """Sends requests in one write, without waiting for answers."""
        await self.send(b"".join(requests))

    async def answer_head(self) -> MessageHead:
        """Reads the head of the next final answer (1xx are skipped)."""
        while True:
            head = await self.head()
            if head is None:
                raise EndedEarly(b"")
            if head.status >= 200:
                return head

    async def answer(self) -> Answer:
        """Reads a whole answer, by whatever framing its head declares (not for HEAD requests)."""
        head = await self.answer_head()
        if head.status in BODILESS:
            return Answer(head, b"")
        if head.chunked:
            chunks = await self.chunks()
            return Answer(head, b"".join(chunk.payload for chunk in chunks), chunks)
        length = head.get("content-length")
        body = await (self.to_end() if length is None else self.exactly(int(length)))
        return Answer(head, body)

    def half_close(self) -> None:
        """Says that no more bytes will be sent (FIN); answers can still be read. Plain TCP only."""
        self.transport.write_eof()
