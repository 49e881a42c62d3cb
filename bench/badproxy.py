"""A deliberately broken proxy: shows that the load tool notices every kind of damage.

    python badproxy.py LISTEN_PORT UPSTREAM_PORT FAULT

FAULT: none, drop (an SSE event is lost), dup (an event comes twice), swap (two events
in the wrong order), flip (one letter of the JSON differs), nodone ([DONE] is lost), cut (the
connection breaks in the middle), error (502), event (an error event in the stream),
stall (the stream stops), resplit (the same bytes, cut at odd places: no fault),
inject (asks for usage by itself and hides the event), leak (asks, and lets the event through).
Each stream of each connection is damaged.  One request per upstream connection.  It reads a
whole answer before it sends the first byte, and never notices that a client has left.
"""

from __future__ import annotations

import asyncio
import re
import sys


def chunk(payload: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(payload), payload)


async def read_request(reader: asyncio.StreamReader, *, ask_usage: bool) -> bytes:
    """The next request as it came, or with include_usage added."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.I)
    body = await reader.readexactly(int(length.group(1)) if length else 0)
    if ask_usage and b"include_usage" not in body and length:
        body = body.replace(b'"stream":true', b'"stream":true,"stream_options":{"include_usage":true}')
        head = head.replace(length.group(0), b"content-length: %d" % len(body))
    return head + body


def damaged(events: list[bytes], fault: str) -> list[bytes]:
    """The events with this fault; those that are no list of events are the caller's."""
    if fault == "drop":
        del events[5]
    elif fault == "dup":
        events.insert(5, events[5])
    elif fault == "swap":
        events[5], events[6] = events[6], events[5]
    elif fault == "flip":
        events[5] = events[5].replace(b"fp_mock", b"fp_mocc")
    elif fault == "nodone":
        del events[-1]
    elif fault == "event":
        events[5] = b'data: {"error":{"message":"no"}}\n\n'
    elif fault == "inject":
        events = [event for event in events if b'"choices":[]' not in event]
    return events


async def answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, port: int, fault: str
) -> bool:
    """Pass one request on and answer it; False if the connection is to be closed."""
    upstream, to_upstream = await asyncio.open_connection("127.0.0.1", port)
    to_upstream.write(request)
    head = await upstream.readuntil(b"\r\n\r\n")
    if fault == "error":
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        to_upstream.close()
        return True
    writer.write(head)
    events = []
    while size := int(await upstream.readline(), 16):
        events.append((await upstream.readexactly(size + 2))[:-2])
    to_upstream.close()
    if fault in ("cut", "stall"):
        writer.write(b"".join(map(chunk, events[:5])))
        await writer.drain()
        if fault == "stall":
            await reader.read()
        return False
    if fault == "resplit":
        raw = b"".join(events)
        out = b"".join(chunk(raw[i : i + 37]) for i in range(0, len(raw), 37)) + b"0\r\n\r\n"
        for i in range(0, len(out), 11):
            writer.write(out[i : i + 11])
            await asyncio.sleep(0)
        return True
    writer.write(b"".join(map(chunk, damaged(events, fault))) + b"0\r\n\r\n")
    await writer.drain()
    return True


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, fault: str) -> None:
    """Serve one client connection."""
    try:
        while True:
            request = await read_request(reader, ask_usage=fault in ("inject", "leak"))
            if not await answer(reader, writer, request, port, fault):
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(listen: int, port: int, fault: str) -> None:
    """Serve until killed."""
    tasks = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # kept for ever: asyncio alone would let the collector end the task of a client that has left
        tasks.add(asyncio.ensure_future(handle(reader, writer, port, fault)))

    async with await asyncio.start_server(accept, "127.0.0.1", listen) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
