"""The stores of a process where something is wrong: refused in a sentence, or closed all the same."""

import os
import sqlite3
import time
from contextlib import closing as closing_file
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from gateway import state as module
from gateway.core.ledger import LedgerUnavailable
from gateway.core.quota import Ask, Grant, QuotasUnavailable
from gateway.stores.outage import OutageQuotas
from gateway.stores.redis_link import PROBE_EVERY_S, RedisLink
from gateway.stores.redis_quotas import RedisQuotas
from gateway.stores.sql import sqlite_database
from gateway.stores.sql.address import SqliteAddress
from gateway.stores.sql.database import open_database
from tests.databases import (
    PostgresServer,
    address,
    connected,
    file_locked,
    make_database,
    postgres_server,
    sqlite_file,
)
from tests.redis_server import RedisServer, free_port, redis_server
from tests.stack.fleet import patient
from tests.state_scene import Start, acme, refused, start, starting

__all__ = ["address", "patient", "postgres_server", "redis_server", "sqlite_file", "start"]


async def test_a_file_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """By the key, the place, what the system says and what to do."""
    (tmp_path / "data").write_text("a file, where a directory should be")
    said = await refused(f"sqlite:///{tmp_path}/data/gateway.db")
    assert said.startswith(f"stores.database_url: SQLite at {tmp_path}/data/gateway.db ")
    assert "File exists" in said
    assert said.endswith("for long.")


async def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    """And stays as it was."""
    file = tmp_path / "gateway.db"
    file.write_text("not a database at all, but long enough to be read as the head of one" * 20)
    before = file.read_bytes()
    assert "file is not a database" in await refused(f"sqlite:///{file}")
    assert file.read_bytes() == before


async def test_a_newer_schema_is_said(tmp_path: Path, sqlite_file: bytes) -> None:
    """An old version changes nothing in it."""
    file = tmp_path / "gateway.db"
    file.write_bytes(sqlite_file)
    database = await open_database(SqliteAddress(file))
    await database.write(
        lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
    )
    await database.aclose()
    assert "schema r9999, which this version does not know" in await refused(f"sqlite:///{file}")


async def test_a_database_that_is_not_whole_is_said(tmp_path: Path, sqlite_file: bytes) -> None:
    """Found in the middle of the start; whatever was opened before is closed again."""
    file = tmp_path / "gateway.db"
    file.write_bytes(sqlite_file)
    with closing_file(sqlite3.connect(file)) as other:
        other.execute("DROP TABLE revisions")
        other.commit()
    assert "no such table: revisions" in await refused(f"sqlite:///{file}")
    with closing_file(sqlite3.connect(file)) as other:
        assert other.execute("SELECT count(*) FROM instances").fetchone() == (0,)


async def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Without the password."""
    said = await refused(f"postgresql://gateway:hunter2@/ledger?host={tmp_path}")
    assert said.startswith("stores.database_url: PostgreSQL at a local socket, database ledger does not answer")
    assert "hunter2" not in said
    assert "postgresql://user:password@host:5432/name" in said


async def test_a_user_who_may_make_no_tables_is_said(postgres_server: PostgresServer) -> None:
    """From PostgreSQL 15 on nobody may, but who owns the database."""
    owned = await make_database(postgres_server, "owned")
    async with connected(owned) as connection:
        await connection.execute("CREATE ROLE stranger LOGIN")
    said = await refused(owned.dsn.replace("gateway@", "stranger@"))
    assert "permission denied for schema public" in said
    assert said.endswith("The user of the gateway must own the database.")


async def test_a_frozen_server_does_not_hang_the_start(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does one that freezes later hang the end."""
    monkeypatch.setattr(module, "OPEN_S", 0.5)
    monkeypatch.setattr(module, "LET_GO_S", 0.2)
    url = postgres_server.dsn("ledger")
    postgres_server.pause()
    try:
        assert "has not answered within 0.5 s" in await refused(url)
    finally:
        postgres_server.resume()
    monkeypatch.setattr(module, "OPEN_S", 30)
    async with starting(url) as begin:
        process = await begin()
        postgres_server.pause()
        try:
            process.state.ledger.open(process.opening())
            await process.state.aclose(0.2)
        finally:
            postgres_server.resume()


async def test_a_file_that_others_hold_does_not_hang_the_end(
    tmp_path: Path, sqlite_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not written by then is said."""
    monkeypatch.setattr(module, "LET_GO_S", 0.2)
    monkeypatch.setattr(sqlite_database, "BUSY_S", 0.5)
    file = tmp_path / "gateway.db"
    file.write_bytes(sqlite_file)
    async with starting(f"sqlite:///{file}") as begin:
        process = await begin()
        with file_locked(file):
            written = process.state.ledger.open(process.opening())
            await process.state.aclose(0.2)
        assert isinstance(written.error, LedgerUnavailable)


@pytest.mark.usefixtures("patient")
async def test_redis_is_shared_and_shown(start: Start, redis_server: RedisServer) -> None:
    """One budget for two processes; its commands are timed, its absence is counted, its return is shown."""
    redis_server.recover()
    with redis_server.client() as look:
        look.flushdb()
    one, two = [await start(redis_url=SecretStr(redis_server.url)) for _ in range(2)]
    assert one.shows("store_up", store="redis") == one.shows("store_up", store="database") == 1
    grant, row = await one.begin(600_000)
    assert await two.money() == (0, 600_000)
    assert one.shows("store_seconds_count", store="redis", op="admit") >= 1
    redis_server.kill()
    try:
        while one.shows("store_up", store="redis"):
            await one.quotas.admit(Ask(os.urandom(4).hex(), "acme", (acme(),), 0, 0))
        decided = one.shows("store_outage_decisions_total", decision="local")
        assert decided > 0
        await one.quotas.admit(Ask("more", "acme", (acme(),), 0, 0))
        assert one.shows("store_outage_decisions_total", decision="local") == decided + 1
    finally:
        redis_server.start()
    one.clock.now += PROBE_EVERY_S
    quotas = one.quotas
    assert isinstance(quotas, OutageQuotas)
    await quotas.beat()
    assert one.shows("store_up", store="redis") == 1
    await one.end(grant, row, 5_000)
    assert (await two.money())[0] == 5_000


@pytest.mark.usefixtures("patient")
async def test_an_orphan_frees_what_it_holds_in_redis(start: Start, redis_server: RedisServer) -> None:
    """At once, not when its hold is written off."""
    redis_server.recover()
    with redis_server.client() as look:
        look.flushdb()
    process = await start(redis_url=SecretStr(redis_server.url))
    dead = process.opening(900_000, instance_id="dead")
    quotas = RedisQuotas(RedisLink(redis_server.url, time.monotonic, command_s=5), time.time, None)
    assert isinstance(await quotas.admit(Ask(dead.exchange_id, "acme", (acme(),), 0, 900_000)), Grant)
    await quotas.aclose()
    await process.state.ledger.open(dead)
    assert await process.money() == (0, 900_000)
    await process.watch()
    assert await process.money() == (7_000, 0)
    assert not process.crossed


async def test_a_redis_that_is_away_does_not_keep_it_from_starting(start: Start) -> None:
    """It begins with an outage."""
    process = await start(redis_url=SecretStr(f"redis://127.0.0.1:{free_port()}/0"), on_outage="deny")
    while process.shows("store_up", store="redis"):
        with pytest.raises(QuotasUnavailable):
            await process.quotas.admit(Ask(os.urandom(4).hex(), "acme", (acme(),), 0, 0))
    assert process.shows("store_outage_decisions_total", decision="denied") > 0
