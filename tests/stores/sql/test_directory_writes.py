"""Rows of tenants and keys as they are written: in line, each change with its number, secrets that end."""

import asyncio

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from gateway.stores.sql import directory_writes as write
from gateway.stores.sql.database import Database
from gateway.stores.sql.directory import KeyRow, changes_since, key_row, tenant_row
from gateway.stores.sql.directory_writes import KeyTerms, Moment
from gateway.stores.sql.schema import keys, tenants

PLAIN = KeyTerms(None, {}, None)


async def make_key(database: Database, *digests: str, key_id: str = "web", now_us: int = 100) -> None:
    """A key of the tenant acme, under revision 1."""

    def work(connection: Connection) -> None:
        write.put_key(connection, Moment(1, now_us), "acme", key_id, PLAIN)
        for digest in digests:
            write.put_secret(connection, Moment(1, now_us), "acme", key_id, digest)

    await database.write(work)


async def its_key(database: Database, key_id: str = "web") -> KeyRow:
    row = await database.read(lambda c: key_row(c, "acme", key_id))
    assert row is not None
    return row


async def revision_of(database: Database, key_id: str = "web") -> int:
    query = select(keys.c.revision).where(keys.c.key_id == key_id)
    return int(await database.read(lambda c: c.scalar(query)) or 0)


async def test_every_change_has_a_number_of_its_own(replicas: list[Database]) -> None:
    """From however many processes, beginning with the first in an empty database."""
    numbers = await asyncio.gather(*(replicas[n % 3].write(write.next_revision) for n in range(12)))
    assert sorted(numbers) == list(range(1, 13))


async def test_a_change_that_fails_has_none(database: Database) -> None:
    """Nobody looks for what is not there."""

    def fail(connection: Connection) -> None:
        write.next_revision(connection)
        raise KeyError("x")

    await database.write(write.next_revision)
    with pytest.raises(KeyError):
        await database.write(fail)
    assert await database.read(lambda c: changes_since(c, 1)) is None


async def test_a_tenant_is_written_changed_deleted_and_written_again(database: Database) -> None:
    """A new one under an old id has nothing of the old."""
    await database.write(lambda c: write.put_tenant(c, Moment(1, 100), "acme", {"id": "acme"}))
    await database.write(lambda c: write.change_tenant(c, Moment(2, 200), "acme", {"id": "acme", "name": "A"}))
    row = await database.read(lambda c: tenant_row(c, "acme"))
    assert row is not None and (row.created_at_us, row.updated_at_us) == (100, 200) and '"A"' in row.settings
    await make_key(database, "d1")
    await make_key(database, "d2", key_id="app")
    assert await database.write(lambda c: write.delete_tenant(c, Moment(3, 300), "acme")) == 2
    assert (await its_key(database)).revoked_at_us == 300 and await revision_of(database, "app") == 3
    await database.write(lambda c: write.put_tenant(c, Moment(4, 400), "acme", {"id": "acme"}))
    row = await database.read(lambda c: tenant_row(c, "acme"))
    assert row is not None and (row.created_at_us, row.updated_at_us, row.deleted_at_us) == (400, 400, None)
    assert "A" not in row.settings
    assert await database.read(lambda c: c.scalar(select(tenants.c.revision))) == 4


async def test_a_key_keeps_its_secrets_when_its_terms_change(database: Database) -> None:
    """And the moment of its making."""
    await make_key(database, "d1")
    terms = KeyTerms("label", {"limits": None}, 900)
    await database.write(lambda c: write.change_key(c, Moment(2, 200), "acme", "web", terms))
    row = await its_key(database)
    assert (row.label, row.expires_at_us, row.created_at_us, row.updated_at_us) == ("label", 900, 100, 200)
    assert [one.digest for one in row.secrets] == ["d1"] and await revision_of(database) == 2


async def test_what_ends_earlier_stays_so(database: Database) -> None:
    """Only what would end later, or never, is shortened; other keys are let alone."""
    await make_key(database, "early", "late")
    await make_key(database, "other", key_id="app")
    await database.write(lambda c: write.end_secrets(c, "acme", "web", 300))
    await database.write(lambda c: write.put_secret(c, Moment(2, 200), "acme", "web", "never"))
    await database.write(lambda c: write.end_secrets(c, "acme", "web", 500))
    assert {one.digest: one.ends_at_us for one in (await its_key(database)).secrets} == {
        "early": 300,
        "late": 300,
        "never": 500,
    }
    await database.write(lambda c: write.end_secrets(c, "acme", "web", 200))
    assert {one.ends_at_us for one in (await its_key(database)).secrets} == {200}
    assert (await its_key(database, "app")).secrets[0].ends_at_us is None


async def test_what_has_ended_goes_and_everybody_forgets_it(database: Database) -> None:
    """From its moment on; keys that lose nothing are not read again."""
    await make_key(database, "old")
    await make_key(database, "other", key_id="app")
    await database.write(lambda c: write.end_secrets(c, "acme", "web", 300))
    await database.write(lambda c: write.delete_ended(c, Moment(2, 299)))
    assert len((await its_key(database)).secrets) == 1 and await revision_of(database) == 1
    await database.write(lambda c: write.delete_ended(c, Moment(3, 300)))
    assert (await its_key(database)).secrets == () and await revision_of(database) == 3
    assert len((await its_key(database, "app")).secrets) == 1 and await revision_of(database, "app") == 1


async def test_a_revoked_key_keeps_its_moment(database: Database) -> None:
    """Whatever is revoked after it; and no secret."""
    await make_key(database, "d1", "d2")
    assert await database.write(lambda c: write.revoke_keys(c, Moment(2, 200), "acme", "web")) == 1
    assert await database.write(lambda c: write.revoke_keys(c, Moment(3, 300), "acme")) == 0
    row = await its_key(database)
    assert (row.revoked_at_us, row.secrets, await revision_of(database)) == (200, (), 2)


async def test_a_key_is_touched_to_be_read_again(database: Database) -> None:
    """With nothing else of it changed."""
    await make_key(database, "d1")
    await database.write(lambda c: write.touch_key(c, Moment(5, 500), "acme", "web"))
    row = await its_key(database)
    assert (row.created_at_us, row.updated_at_us, await revision_of(database)) == (100, 500, 5)


async def test_no_id_and_no_secret_is_there_twice(database: Database) -> None:
    """The tables see to that, whatever the rules above them forget."""
    await make_key(database, "d1")
    with pytest.raises(IntegrityError):
        await make_key(database, "d2")
    with pytest.raises(IntegrityError):
        await make_key(database, "d1", key_id="app")
