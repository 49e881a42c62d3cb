"""A directory whose database is away, fails, or is not the one that it was."""

import asyncio
import logging

import pytest

from gateway.stores.sql.directory import Changes
from gateway.stores.sql.group import DatabaseDown
from gateway.tenancy.intake import take_in
from gateway.tenancy.tenants import Tenants
from tests.tenancy.directory_scene import OPERATOR, Scene, key

PATIENCE_S = 30


async def test_without_the_database_everybody_stays_known(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and changes are seen when it is back."""
    monkeypatch.setattr("gateway.tenancy.directory.POLL_S", 0.001)
    await scene.make_tenant()
    secret = await scene.make_key()
    there = scene.there
    await there.directory.start()
    there.line.cut = True
    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(PATIENCE_S):
            await there.line.refused_thrice.wait()
    assert caplog.text.count("changes of tenants and keys are not seen: the line is cut") == 1
    assert there.opens(secret) == "acme/web"
    with pytest.raises(DatabaseDown):
        await there.directory.create_key(OPERATOR, "acme", key("more"))
    with pytest.raises(DatabaseDown):
        await there.directory.tenants()
    newer = await scene.rotate(grace_s=0)
    there.changed.clear()
    there.line.cut = False
    async with asyncio.timeout(PATIENCE_S):
        await there.changed.wait()
    assert (there.opens(secret), there.opens(newer)) == ("unknown", "acme/web")


async def test_does_not_start_without_the_database(scene: Scene) -> None:
    """Nobody of it would be known."""
    scene.there.line.cut = True
    with pytest.raises(DatabaseDown):
        await scene.there.directory.start()


async def test_a_look_that_fails_unexpectedly_is_not_the_last(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Told once, with its cause."""
    monkeypatch.setattr("gateway.tenancy.directory.POLL_S", 0.001)
    await scene.there.directory.start()
    there, failures = scene.there, 0

    def fail_twice(tenants: Tenants, changes: Changes) -> None:
        nonlocal failures
        if tenants is there.tenants and failures < 2:
            failures += 1
            raise KeyError("x")
        take_in(tenants, changes)

    monkeypatch.setattr("gateway.tenancy.directory.take_in", fail_twice)
    there.changed.clear()
    await scene.make_tenant()
    async with asyncio.timeout(PATIENCE_S):
        await there.changed.wait()
    assert [one.id for one in there.tenants.all] == ["acme"]
    assert (failures, caplog.text.count("KeyError: 'x'")) == (2, 1)


async def test_a_change_is_done_though_memory_cannot_follow(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """The secret is given out: it is good as soon as the database answers."""
    await scene.make_tenant()
    scene.here.line.cut_after_write = True
    secret = await scene.make_key()
    assert scene.here.opens(secret) == "unknown"
    assert "not in memory yet: the line is cut" in caplog.text
    scene.here.line.cut = False
    await scene.directory.refresh()
    assert scene.here.opens(secret) == "acme/web"


async def test_says_how_old_its_knowledge_is(scene: Scene) -> None:
    """Since the look that last answered."""
    here = scene.here
    here.clock_s = 5.0
    assert here.directory.age_s == 5
    await here.directory.refresh()
    assert here.directory.age_s == 0
    here.clock_s, here.line.cut = 8.0, True
    with pytest.raises(DatabaseDown):
        await here.directory.refresh()
    assert here.directory.age_s == 3


async def test_a_restored_backup_is_read_whole(scene: Scene) -> None:
    """Its number is lower than the one that was seen."""
    await scene.make_tenant("old")
    await scene.there.directory.refresh()
    await scene.make_tenant("new")
    await scene.there.directory.refresh()
    for statement in ("DELETE FROM tenants WHERE tenant_id = 'new'", "UPDATE revisions SET number = 0"):
        await scene.sql(statement)
    await scene.there.directory.refresh()
    assert [one.id for one in scene.there.tenants.all] == ["old"]
