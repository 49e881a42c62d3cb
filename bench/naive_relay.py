"""Naive mark: aiohttp both ways, a task per stream.  naive_relay.py http://HOST:PORT LISTEN_PORT [nouv]"""

import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web

UP = sys.argv[1]
PORT = int(sys.argv[2])
UV = len(sys.argv) < 4 or sys.argv[3] != "nouv"


async def main():
    conn = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    sess = aiohttp.ClientSession(
        connector=conn,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        raise_for_status=False,
    )

    async def h(req):
        body = await req.read()
        async with sess.post(UP + req.path, data=body, headers={"Content-Type": "application/json"}) as r:
            out = web.StreamResponse(status=r.status, headers={"Content-Type": r.headers.get("Content-Type", "")})
            await out.prepare(req)
            async for c in r.content.iter_any():
                await out.write(c)
            await out.write_eof()
            return out

    app = web.Application()
    app.router.add_post("/{p:.*}", h)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", PORT, backlog=4096).start()
    await asyncio.Event().wait()


(uvloop.run if UV else asyncio.run)(main())
