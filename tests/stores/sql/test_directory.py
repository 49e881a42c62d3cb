"""Rows of tenants and keys as they are read: whole, in pages, and what has changed since a look."""

import pytest
from sqlalchemy import Connection, text

from gateway.stores.sql import directory_writes as write
from gateway.stores.sql.database import Database
from gateway.stores.sql.directory import (
    Changes,
    SecretRow,
    audit_records,
    changes_since,
    count_secrets,
    count_tenants,
    key_row,
    key_rows,
    tenant_row,
    tenant_rows,
)
from gateway.stores.sql.directory_writes import KeyTerms, Moment

PLAIN = KeyTerms(None, {}, None)


def fill(connection: Connection) -> None:
    """Two tenants; the first has a key with two secrets, one without any, and one that is revoked."""
    at = Moment(write.next_revision(connection), 100)
    for tenant_id in ("acme", "beta"):
        write.put_tenant(connection, at, tenant_id, {"id": tenant_id})
    at = Moment(write.next_revision(connection), 200)
    write.put_key(connection, at, "acme", "web", KeyTerms("the site", {"limits": None}, 900))
    write.put_secret(connection, at, "acme", "web", "old")
    write.end_secrets(connection, "acme", "web", 500)
    write.put_secret(connection, Moment(2, 300), "acme", "web", "new")
    at = Moment(write.next_revision(connection), 400)
    for key_id in ("app", "cli"):
        write.put_key(connection, at, "acme", key_id, PLAIN)
    write.put_secret(connection, at, "acme", "cli", "lost")
    write.revoke_keys(connection, Moment(write.next_revision(connection), 500), "acme", "cli")


def names(changes: Changes | None) -> tuple[bool, list[str], list[str]]:
    assert changes is not None
    return changes.whole, sorted(one.tenant_id for one in changes.tenants), sorted(one.key_id for one in changes.keys)


async def test_the_first_look_sees_all_that_counts(database: Database) -> None:
    """Neither deleted tenants nor revoked keys."""
    await database.write(fill)
    await database.write(lambda c: write.delete_tenant(c, Moment(write.next_revision(c), 600), "beta"))
    changes = await database.read(lambda c: changes_since(c, None))
    assert names(changes) == (True, ["acme"], ["app", "web"])
    assert changes is not None and changes.number == 5


@pytest.mark.parametrize(
    ("seen", "tenants", "keys"),
    [
        (0, ["acme", "beta"], ["app", "cli", "web"]),
        (1, [], ["app", "cli", "web"]),
        (2, [], ["app", "cli"]),
        (3, [], ["cli"]),
    ],
)
async def test_a_later_look_sees_what_has_changed(
    database: Database, seen: int, tenants: list[str], keys: list[str]
) -> None:
    """What is gone too, so that it is forgotten."""
    await database.write(fill)
    assert names(await database.read(lambda c: changes_since(c, seen))) == (False, tenants, keys)


async def test_nothing_new_is_nothing(database: Database) -> None:
    """In an empty database as in a full one."""
    assert await database.read(lambda c: changes_since(c, 0)) is None
    await database.write(fill)
    assert await database.read(lambda c: changes_since(c, 4)) is None


async def test_an_empty_database_is_seen_whole_once(database: Database) -> None:
    """Its number is 0."""
    changes = await database.read(lambda c: changes_since(c, None))
    assert names(changes) == (True, [], []) and changes is not None and changes.number == 0


async def test_a_number_that_has_fallen_means_everything_anew(database: Database) -> None:
    """Somebody put an older database in its place."""
    await database.write(fill)
    assert names(await database.read(lambda c: changes_since(c, 9)))[0] is True


async def test_deleted_tenants_and_their_keys_are_changes(database: Database) -> None:
    """All of them in one number."""
    await database.write(fill)
    await database.write(lambda c: write.delete_tenant(c, Moment(write.next_revision(c), 600), "acme"))
    changes = await database.read(lambda c: changes_since(c, 4))
    assert names(changes) == (False, ["acme"], ["app", "web"])
    assert changes is not None
    assert [one.deleted_at_us for one in changes.tenants] == [600]
    assert {(one.revoked_at_us, one.secrets) for one in changes.keys} == {(600, ())}


async def test_a_key_has_its_secrets_the_newest_first(database: Database) -> None:
    """And everything else that is said of it."""
    await database.write(fill)
    row = await database.read(lambda c: key_row(c, "acme", "web"))
    assert row is not None
    assert row.secrets == (SecretRow("new", 300, None), SecretRow("old", 200, 500))
    assert (row.label, row.expires_at_us, row.created_at_us, row.revoked_at_us) == ("the site", 900, 200, None)
    assert await database.read(lambda c: key_row(c, "beta", "web")) is None


async def test_keys_come_in_pages(database: Database) -> None:
    """By their ids; a page counts keys, not secrets."""
    await database.write(fill)

    async def page(after: str | None, limit: int | None) -> list[str]:
        return [row.key_id for row in await database.read(lambda c: key_rows(c, "acme", after, limit))]

    assert await page(None, None) == ["app", "cli", "web"]
    assert await page(None, 2) == ["app", "cli"]
    assert await page("cli", 2) == ["web"]
    assert await page("web", 2) == []


async def test_deleted_tenants_are_not_there(database: Database) -> None:
    """Neither by name nor in a list nor in a count."""
    await database.write(fill)
    await database.write(lambda c: write.delete_tenant(c, Moment(9, 600), "beta"))
    assert await database.read(lambda c: tenant_row(c, "beta")) is None
    assert [row.tenant_id for row in await database.read(tenant_rows)] == ["acme"]
    assert (await database.read(count_tenants), await database.read(count_secrets)) == (1, 2)


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
async def test_what_is_no_json_does_not_spoil_the_rest(database: Database) -> None:
    """It is handed on as it was found; PostgreSQL takes no such value."""
    await database.write(fill)
    for table in ("tenants", "keys"):
        await database.write(lambda c, table=table: c.execute(text(f"UPDATE {table} SET settings = '{{'")))  # type: ignore[misc]
    changes = await database.read(lambda c: changes_since(c, None))
    assert changes is not None
    assert {row.settings for row in changes.tenants} == {row.settings for row in changes.keys} == {"{"}


async def test_the_audit_is_read_backwards(database: Database) -> None:
    """The newest first, and on from any record."""
    for number in range(5):
        await database.write(lambda c, n=number: write.put_audit(c, n, "me", f"a{n}", "s", {"n": n}))  # type: ignore[misc]
    records = await database.read(lambda c: audit_records(c, 3))
    assert [(one.action, one.details) for one in records] == [("a4", {"n": 4}), ("a3", {"n": 3}), ("a2", {"n": 2})]
    older = await database.read(lambda c: audit_records(c, 3, records[-1].number))
    assert [one.action for one in older] == ["a1", "a0"]
