"""Tenants and keys of the database: made through one process, known to all, whatever becomes of the database."""

import asyncio
from typing import Any

import pytest

from gateway.tenancy.directory import MOST_GRACE_S, POLL_S
from gateway.tenancy.tenants import digest_of
from tests.tenancy.directory_scene import NOW_US, OPERATOR, Scene, configured, key, refusal, tenant

PATIENCE_S = 30

CRAFTED = [
    "' OR '1'='1",
    "x'; DROP TABLE keys; --",
    "a\nERROR forged",
    "\x00",
    "\ud800",
    "a" * 65,
    "",
    "../etc",
    "Acme",
]


async def test_a_change_is_known_to_who_made_it_at_once_and_to_others_at_their_next_look(scene: Scene) -> None:
    """New, rotated, revoked: the same for all."""
    await scene.make_tenant(models=["gpt-*"], budget={"usd": "5"})
    first = await scene.make_key()
    assert (scene.here.opens(first), scene.there.opens(first)) == ("acme/web", "unknown")
    await scene.there.directory.refresh()
    assert scene.there.opens(first) == "acme/web"
    (known,) = scene.there.tenants.all
    assert (known.models, [scope.key for scope in known.entitlement.scopes("web", "gpt")]) == (
        ("gpt-*",),
        ["tenant/acme"],
    )

    second = await scene.rotate(grace_s=0)
    assert (scene.here.opens(first), scene.here.opens(second)) == ("unknown", "acme/web")
    assert (scene.there.opens(first), scene.there.opens(second)) == ("acme/web", "unknown")
    await scene.there.directory.refresh()
    assert (scene.there.opens(first), scene.there.opens(second)) == ("unknown", "acme/web")

    await scene.directory.revoke_key(OPERATOR, "acme", "web")
    await scene.there.directory.refresh()
    assert (scene.here.opens(second), scene.there.opens(second)) == ("unknown", "unknown")


async def test_a_change_holds_everywhere_within_a_second(scene: Scene) -> None:
    """By the poll alone; the best of three, as the machine may have other things to do."""
    await scene.make_tenant()
    await scene.there.directory.start()
    loop, took_s = asyncio.get_running_loop(), []
    for number in range(3):
        scene.there.changed.clear()
        secret = await scene.make_key(f"k{number}")
        since_s = loop.time()
        async with asyncio.timeout(PATIENCE_S):
            await scene.there.changed.wait()
        took_s.append(loop.time() - since_s)
        assert scene.there.opens(secret) == f"acme/k{number}"
    assert min(took_s) <= 1
    assert POLL_S <= 0.5


async def test_who_starts_knows_everything(scene: Scene) -> None:
    """But for what is deleted and revoked."""
    await scene.make_tenant("acme")
    await scene.make_tenant("beta")
    kept, revoked, lost = await scene.make_key("a"), await scene.make_key("b"), await scene.make_key("c", "beta")
    await scene.directory.revoke_key(OPERATOR, "acme", "b")
    await scene.directory.delete_tenant(OPERATOR, "beta")
    await scene.there.directory.start()
    assert [scene.there.opens(secret) for secret in (kept, revoked, lost)] == ["acme/a", "unknown", "unknown"]
    assert [one.id for one in scene.there.tenants.all] == ["acme"]


async def test_looking_at_what_has_not_changed_changes_nothing(scene: Scene) -> None:
    """Nobody is told, and everything stays the object that it was."""
    await scene.make_tenant("acme")
    await scene.make_tenant("beta")
    before, told = scene.here.tenants.all, scene.here.changes
    await scene.directory.refresh()
    assert scene.here.changes == told
    await scene.make_key("web", "beta")
    assert [one is other for one, other in zip(before, scene.here.tenants.all, strict=True)] == [True, True]
    assert scene.here.changes == told + 1


async def test_running_exchanges_keep_the_tenant_that_they_began_with(scene: Scene) -> None:
    """A snapshot."""
    await scene.make_tenant(models=["old"])
    before = scene.here.tenants.authenticate(await scene.make_key())
    await scene.directory.replace_tenant(OPERATOR, "acme", tenant(models=["new"]))
    (after,) = scene.here.tenants.all
    assert (before.tenant.may_use("old"), after.may_use("old"), after.may_use("new")) == (True, False, True)


async def test_a_tenant_that_comes_to_be_in_both_is_the_configurations(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Told once; the database's can be deleted, and is back where the configuration lets it go."""
    await scene.make_tenant()
    secret = await scene.make_key()
    scene.here.tenants.replace_config([configured("acme", web="agw-file")])
    await scene.directory.refresh()
    assert (scene.here.opens(secret), scene.here.opens("agw-file")) == ("unknown", "acme/web")
    (listed,) = await scene.directory.tenants()
    assert (listed.source, listed.conflict) == (
        "config",
        "The database's tenant acme is left out: gateway.yaml has a tenant of this id. "
        "Rename that, or delete this one.",
    )
    await scene.make_tenant("beta")
    assert caplog.text.count("is left out") == 1
    scene.here.tenants.replace_config([])
    assert scene.here.opens(secret) == "acme/web"
    assert (await scene.directory.tenant("acme")).conflict is None
    scene.here.tenants.replace_config([configured("acme", web="agw-file")])
    await scene.directory.delete_tenant(OPERATOR, "acme")
    assert scene.here.opens("agw-file") == "acme/web"
    scene.here.tenants.replace_config([])
    assert (scene.here.opens(secret), scene.here.opens("agw-file")) == ("unknown", "unknown")


async def test_lists_in_the_order_of_ids_and_in_pages(scene: Scene) -> None:
    """Both sources together."""
    replica = scene.replica(configured("b"), configured("d"))
    for name in ("e", "a", "c"):
        await replica.directory.create_tenant(OPERATOR, tenant(name))
    whole = [(one.id, one.source) for one in await replica.directory.tenants()]
    assert whole == [("a", "database"), ("b", "config"), ("c", "database"), ("d", "config"), ("e", "database")]
    assert [one.id for one in await replica.directory.tenants(after="b", limit=2)] == ["c", "d"]
    for name in ("z", "x", "y"):
        await replica.directory.create_key(OPERATOR, "a", key(name))
    assert [one.id for one in await replica.directory.keys("a")] == ["x", "y", "z"]
    assert [one.id for one in await replica.directory.keys("a", after="x", limit=1)] == ["y"]


async def test_a_record_shows_what_was_said_and_no_secret(scene: Scene) -> None:
    """Nor a digest, but for its first digits."""
    settings = tenant(name="Acme", models=["gpt-*"], limits={"concurrent": 3}, budget={"usd": "1.5", "window": "day"})
    made = await scene.directory.create_tenant(OPERATOR, settings)
    assert (made.settings, made.source, made.created_at_us, made.updated_at_us) == (
        settings,
        "database",
        NOW_US,
        NOW_US,
    )
    terms: dict[str, Any] = {
        "label": "the site",
        "limits": {"requests_per_minute": 5},
        "budget": {"usd": 0},
        "expires": "2030-01-01",
    }
    record, secret = await scene.directory.create_key(OPERATOR, "acme", key(**terms))
    assert [record] == await scene.directory.keys("acme")
    assert (record.label, record.limits, record.budget) == ("the site", key(**terms).limits, key(**terms).budget)
    assert record.expires_at_us == 1_893_456_000_000_000
    (shown,) = record.secrets
    assert shown.fingerprint == digest_of(secret).hex()[:8]
    assert secret not in repr(record) and secret.startswith("agw-")


async def test_what_is_not_there_is_not_found(scene: Scene) -> None:
    """Whatever is asked for."""
    await scene.make_tenant()
    for asked in (
        scene.directory.tenant("nobody"),
        scene.directory.keys("nobody"),
        scene.directory.replace_tenant(OPERATOR, "nobody", tenant("nobody")),
        scene.directory.delete_tenant(OPERATOR, "nobody"),
        scene.directory.create_key(OPERATOR, "nobody", key()),
        scene.directory.rotate_key(OPERATOR, "acme", "nothing", 0),
        scene.directory.replace_key(OPERATOR, "acme", "nothing", key("nothing")),
        scene.directory.revoke_key(OPERATOR, "acme", "nothing"),
    ):
        assert (await refusal(asked))[0] == "not_found"


@pytest.mark.parametrize("crafted", CRAFTED, ids=ascii)
async def test_crafted_ids_are_nothing(scene: Scene, crafted: str, caplog: pytest.LogCaptureFixture) -> None:
    """They reach neither a statement nor a log, and the answer does not repeat them."""
    await scene.make_tenant()
    secret = await scene.make_key()
    for asked in (
        scene.directory.tenant(crafted),
        scene.directory.keys(crafted),
        scene.directory.delete_tenant(OPERATOR, crafted),
        scene.directory.replace_tenant(OPERATOR, crafted, tenant()),
        scene.directory.create_key(OPERATOR, crafted, key()),
        scene.directory.rotate_key(OPERATOR, "acme", crafted, 0),
        scene.directory.replace_key(OPERATOR, "acme", crafted, key()),
        scene.directory.revoke_key(OPERATOR, crafted, "web"),
    ):
        code, sentence = await refusal(asked)
        assert code == "not_found" and (not crafted or crafted not in sentence)
    assert scene.here.opens(secret) == "acme/web" and "forged" not in caplog.text


async def test_crafted_names_are_kept_as_they_are(scene: Scene) -> None:
    """They are values, wherever they stand."""
    crafted = "Robert'); DROP TABLE tenants; -- %s {} \\ \" \N{ZERO WIDTH JOINER}é"
    await scene.make_tenant(name=crafted)
    record, _ = await scene.directory.create_key(OPERATOR, "acme", key(label=crafted))
    shown = await scene.directory.tenant("acme")
    assert shown.settings is not None and (shown.settings.name, record.label) == (crafted, crafted)
    await scene.directory.note(crafted, crafted, crafted, {crafted: crafted})
    assert await scene.last_audit() == (crafted, crafted, crafted, {crafted: crafted})


@pytest.mark.parametrize("grace_s", [-1, -0.001, MOST_GRACE_S + 1, float("nan"), float("inf"), -float("inf")])
async def test_a_grace_is_a_time_with_an_end(scene: Scene, grace_s: float) -> None:
    """From nothing to 90 days."""
    await scene.make_tenant()
    secret = await scene.make_key()
    code, sentence = await refusal(scene.directory.rotate_key(OPERATOR, "acme", "web", grace_s))
    assert (code, sentence) == ("invalid_request", "grace_s: must be a number of seconds from 0 to 7776000")
    assert scene.here.opens(secret) == "acme/web"


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_the_audit_comes_in_pages(scene: Scene, limit: int) -> None:
    """Of a size that has an end."""
    assert (await refusal(scene.directory.audit(limit)))[0] == "invalid_request"
