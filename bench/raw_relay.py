"""The limit: a TCP relay on uvloop that knows no HTTP.  raw_relay.py HOST:PORT LISTEN_PORT [nouv]"""

import asyncio
import sys

import uvloop

H, P = sys.argv[1].split(":")
PORT = int(sys.argv[2])


class Up(asyncio.Protocol):
    def __init__(s, d):
        s.d = d

    def connection_made(s, t):
        s.t = t

    def data_received(s, b):
        s.d.write(b)

    def connection_lost(s, e):
        s.d.close()


class Down(asyncio.Protocol):
    up = None

    def connection_made(s, t):
        s.t = t
        s.buf = []
        asyncio.ensure_future(s.c())  # noqa: RUF006  (the mark stays as it was measured)

    async def c(s):
        _, p = await asyncio.get_running_loop().create_connection(lambda: Up(s.t), H, int(P))
        s.up = p.t
        for b in s.buf:
            s.up.write(b)

    def data_received(s, b):
        if s.up:
            s.up.write(b)
        else:
            s.buf.append(b)

    def connection_lost(s, e):
        if s.up:
            s.up.close()


async def main():
    srv = await asyncio.get_running_loop().create_server(Down, "127.0.0.1", PORT, backlog=4096)
    await srv.serve_forever()


(uvloop.run if len(sys.argv) < 4 else asyncio.run)(main())
