"""What operators may change, and how: rotation, revocation, bounds, races, the audit."""

import asyncio

import pytest

from gateway.tenancy.directory import MOST_GRACE_S
from gateway.tenancy.tenants import digest_of
from tests.tenancy.directory_scene import NOW_S, NOW_US, OPERATOR, Scene, configured, key, refusal, tenant


async def test_a_rotated_key_goes_on_under_both_secrets_until_the_grace_ends(scene: Scene) -> None:
    """The second rotation does not lengthen the first one's; limits and budget are the key's, whichever secret."""
    await scene.make_tenant()
    first = await scene.make_key(budget={"usd": 1})
    second = await scene.rotate(grace_s=100)
    third = await scene.rotate(grace_s=3600)
    await scene.there.directory.refresh()

    def opened() -> list[str]:
        return [scene.there.opens(secret) for secret in (first, second, third)]

    assert opened() == ["acme/web"] * 3
    (known,) = scene.there.tenants.all
    assert [scope.key for scope in known.entitlement.scopes("web", "m")] == ["key/acme/web"]
    scene.calendar.now_s = NOW_S + 99.999
    assert opened() == ["acme/web"] * 3
    scene.calendar.now_s = NOW_S + 100
    assert opened() == ["expired", "acme/web", "acme/web"]
    scene.calendar.now_s = NOW_S + 3600
    assert opened() == ["expired", "expired", "acme/web"]


async def test_a_shorter_grace_shortens_older_ones(scene: Scene) -> None:
    """No secret outlives the one that replaced it; with none at all every older one ends at once."""
    await scene.make_tenant()
    first = await scene.make_key()
    second = await scene.rotate(grace_s=3600)
    third = await scene.rotate(grace_s=10)
    scene.calendar.now_s = NOW_S + 10
    assert [scene.here.opens(secret) for secret in (first, second, third)] == ["expired", "expired", "acme/web"]
    fourth = await scene.rotate(grace_s=0)
    assert [scene.here.opens(secret) for secret in (third, fourth)] == ["unknown", "acme/web"]
    assert await scene.count("key_secrets") == 1


async def test_revocation_ends_secrets_in_grace_too(scene: Scene) -> None:
    """And is for ever: the id is not given again, nor does it rotate or change."""
    await scene.make_tenant()
    first = await scene.make_key()
    second = await scene.rotate(grace_s=3600)
    await scene.directory.revoke_key(OPERATOR, "acme", "web")
    assert [scene.here.opens(secret) for secret in (first, second)] == ["unknown", "unknown"]
    for again in (
        scene.directory.create_key(OPERATOR, "acme", key()),
        scene.directory.rotate_key(OPERATOR, "acme", "web", 0),
        scene.directory.replace_key(OPERATOR, "acme", "web", key()),
        scene.directory.revoke_key(OPERATOR, "acme", "web"),
    ):
        assert (await refusal(again))[0] == "conflict"
    (record,) = await scene.directory.keys("acme")
    assert (record.revoked_at_us, record.secrets) == (NOW_US, ())


async def test_a_key_ends_with_its_expiry_and_its_old_secrets_do_not_outlive_it(scene: Scene) -> None:
    """Checked at each look-up, by no store."""
    await scene.make_tenant()
    secret = await scene.make_key(expires="2023-11-14T22:14:20Z")
    newer = await scene.rotate(grace_s=MOST_GRACE_S)
    ends_s = NOW_S - 0.25 + 60
    scene.calendar.now_s = ends_s - 0.001
    assert [scene.here.opens(one) for one in (secret, newer)] == ["acme/web", "acme/web"]
    scene.calendar.now_s = ends_s
    assert [scene.here.opens(one) for one in (secret, newer)] == ["expired", "expired"]
    assert await refusal(scene.directory.rotate_key(OPERATOR, "acme", "web", 0)) == (
        "conflict",
        "The key web has expired, so no secret of it is good. Change expires first.",
    )
    await scene.directory.replace_key(OPERATOR, "acme", "web", key())
    assert scene.here.opens(newer) == "acme/web"
    await scene.directory.replace_key(OPERATOR, "acme", "web", key(expires="2020-01-01"))
    assert scene.here.opens(newer) == "expired"


async def test_a_deleted_tenant_goes_with_its_keys(scene: Scene) -> None:
    """Everywhere; one that is made under its id begins without their secrets, and does not give their ids again."""
    await scene.make_tenant()
    secret = await scene.make_key()
    await scene.there.directory.refresh()
    await scene.directory.delete_tenant(OPERATOR, "acme")
    await scene.make_tenant(models=["new"])
    for replica in (scene.here, scene.there):
        await replica.directory.refresh()
        assert replica.opens(secret) == "unknown"
        assert [one.models for one in replica.tenants.all] == [("new",)]
    assert (await refusal(scene.directory.create_key(OPERATOR, "acme", key())))[0] == "conflict"
    assert scene.here.opens(await scene.make_key("other")) == "acme/other"


async def test_of_two_that_make_the_same_one_does(scene: Scene) -> None:
    """The other is told so, and no secret of it is good."""
    makings = [one.directory.create_tenant(OPERATOR, tenant()) for one in (scene.here, scene.there) for _ in range(3)]
    done = await asyncio.gather(*makings, return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["Refused"] * 5 + ["TenantRecord"]
    rotations = await asyncio.gather(
        *(one.directory.create_key(OPERATOR, "acme", key()) for one in (scene.here, scene.there)),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in rotations) == ["Refused", "tuple"]
    assert (await scene.count("keys"), await scene.count("key_secrets"), await scene.count("audit")) == (1, 1, 2)


async def test_changes_of_one_key_come_one_after_another(scene: Scene) -> None:
    """Rotations at once, each without grace: one secret is left, and both replicas agree which."""
    await scene.make_tenant()
    await scene.make_key()
    replicas = (scene.here, scene.there)
    rotations = [one.directory.rotate_key(OPERATOR, "acme", "web", 0) for one in replicas for _ in range(4)]
    secrets = [secret for _, secret in await asyncio.gather(*rotations)]
    for replica in replicas:
        await replica.directory.refresh()
    opened = [[replica.opens(secret) for secret in secrets] for replica in replicas]
    assert opened[0] == opened[1]
    assert sorted(opened[0]) == ["acme/web"] + ["unknown"] * 7


@pytest.mark.parametrize("most", [1, 3])
async def test_there_is_a_most_of_keys(scene: Scene, most: int) -> None:
    """Secrets in grace count, since they are in memory; what has ended makes room, in every memory."""
    small = scene.replica(most_keys=most)
    await small.directory.create_tenant(OPERATOR, tenant())
    secrets = [(await small.directory.create_key(OPERATOR, "acme", key(f"k{n}")))[1] for n in range(most)]
    full = (
        "conflict",
        f"There are {most} keys, old secrets in their grace counted, which is the most. Revoke some that nobody uses.",
    )
    assert await refusal(small.directory.create_key(OPERATOR, "acme", key("more"))) == full
    assert await refusal(small.directory.rotate_key(OPERATOR, "acme", "k0", 60)) == full
    assert small.opens(secrets[0]) == "acme/k0"
    await small.directory.rotate_key(OPERATOR, "acme", "k0", 0)
    await small.directory.revoke_key(OPERATOR, "acme", "k0")
    record, old = await small.directory.create_key(OPERATOR, "acme", key("last"))
    assert (record.id, small.opens(old)) == ("last", "acme/last")


async def test_what_has_ended_leaves_every_memory(scene: Scene) -> None:
    """At the next key that is made, whosever it is."""
    await scene.make_tenant()
    old = await scene.make_key()
    await scene.rotate(grace_s=10)
    await scene.there.directory.refresh()
    scene.calendar.now_s = NOW_S + 10
    assert scene.there.opens(old) == "expired"
    await scene.make_key("other")
    await scene.there.directory.refresh()
    assert (scene.here.opens(old), scene.there.opens(old)) == ("unknown", "unknown")


async def test_there_is_a_most_of_tenants(scene: Scene) -> None:
    """Each is in every memory."""
    small = scene.replica(most_tenants=1)
    await small.directory.create_tenant(OPERATOR, tenant("one"))
    assert await refusal(small.directory.create_tenant(OPERATOR, tenant("two"))) == (
        "conflict",
        "There are 1 tenants, which is the most. Delete some first.",
    )
    await small.directory.delete_tenant(OPERATOR, "one")
    await small.directory.create_tenant(OPERATOR, tenant("two"))


async def test_tenants_of_the_configuration_are_shown_and_not_changed(scene: Scene) -> None:
    """Each refusal says where they are changed; nothing shows a hash."""
    replica = scene.replica(configured("file", web="agw-file"))
    shown = await replica.directory.tenant("file")
    assert (shown.source, shown.settings, shown.conflict) == ("config", tenant("file"), None)
    (one,) = await replica.directory.keys("file")
    assert (one.source, one.id, len(one.secrets[0].fingerprint)) == ("config", "web", 8)
    for change in (
        replica.directory.create_tenant(OPERATOR, tenant("file")),
        replica.directory.replace_tenant(OPERATOR, "file", tenant("file")),
        replica.directory.delete_tenant(OPERATOR, "file"),
        replica.directory.create_key(OPERATOR, "file", key()),
        replica.directory.rotate_key(OPERATOR, "file", "web", 0),
        replica.directory.replace_key(OPERATOR, "file", "web", key()),
        replica.directory.revoke_key(OPERATOR, "file", "web"),
    ):
        assert await refusal(change) == ("conflict", "The tenant file is in gateway.yaml: change it there.")
    assert await scene.count("audit") == 0


async def test_ids_stay(scene: Scene) -> None:
    """A draft that says another is refused."""
    await scene.make_tenant()
    await scene.make_key()
    assert await refusal(scene.directory.replace_tenant(OPERATOR, "acme", tenant("beta"))) == (
        "invalid_request",
        "id: is beta, but this is the tenant acme, and ids stay.",
    )
    assert await refusal(scene.directory.replace_key(OPERATOR, "acme", "web", key("app"))) == (
        "invalid_request",
        "id: is app, but this is the key web, and ids stay.",
    )


async def test_a_new_key_ends_in_the_future(scene: Scene) -> None:
    """One that never opens anything is a mistake."""
    await scene.make_tenant()
    code, sentence = await refusal(scene.directory.create_key(OPERATOR, "acme", key(expires="2023-11-14T22:13:20.25Z")))
    assert (code, sentence[:23]) == ("invalid_request", "expires: is in the past")
    await scene.make_key(expires="2023-11-14T22:13:20.250001Z")


async def test_every_change_is_in_the_audit(scene: Scene) -> None:
    """Who, when, what; how each field was before and after; no secret, no digest."""
    directory = scene.directory
    await directory.create_tenant("ann", tenant(name="Acme", limits={"concurrent": 1}))
    assert await scene.last_audit() == (
        "ann",
        "tenant.create",
        "tenant/acme",
        {
            "id": {"old": None, "new": "acme"},
            "name": {"old": None, "new": "Acme"},
            "limits": {"old": None, "new": {"concurrent": 1}},
        },
    )
    await directory.replace_tenant("bob", "acme", tenant(name="Acme", budget={"usd": "2.50"}))
    assert await scene.last_audit() == (
        "bob",
        "tenant.replace",
        "tenant/acme",
        {"limits": {"old": {"concurrent": 1}, "new": None}, "budget": {"old": None, "new": {"usd": "2.50"}}},
    )
    _, first = await directory.create_key("ann", "acme", key(label="site"))
    assert await scene.last_audit() == ("ann", "key.create", "key/acme/web", {"label": {"old": None, "new": "site"}})
    _, second = await directory.rotate_key("ann", "acme", "web", 1.5)
    assert await scene.last_audit() == ("ann", "key.rotate", "key/acme/web", {"grace_s": 1.5})
    await directory.replace_key("ann", "acme", "web", key(expires="2030-01-01", limits={"concurrent": 2}))
    assert await scene.last_audit() == (
        "ann",
        "key.replace",
        "key/acme/web",
        {
            "label": {"old": "site", "new": None},
            "expires": {"old": None, "new": "2030-01-01T00:00:00+00:00"},
            "limits": {"old": None, "new": {"concurrent": 2}},
        },
    )
    await directory.revoke_key("ann", "acme", "web")
    assert await scene.last_audit() == ("ann", "key.revoke", "key/acme/web", {})
    await directory.delete_tenant("ann", "acme")
    actor, action, subject, details = await scene.last_audit()
    assert (actor, action, subject, details["keys_revoked"]) == ("ann", "tenant.delete", "tenant/acme", 0)
    assert details["name"] == {"old": "Acme", "new": None}
    await directory.note("ann", "provider.drain", "provider/openai", {"reason": "slow"})
    records = await directory.audit(100)
    assert [one.number for one in records] == sorted((one.number for one in records), reverse=True)
    assert {one.at_us for one in records} == {NOW_US} and len(records) == 8
    for secret in (first, second):
        assert secret not in repr(records) and digest_of(secret).hex() not in repr(records)
    assert [one.action for one in await directory.audit(2, before=records[1].number)] == ["key.revoke", "key.replace"]
    assert await directory.audit(5, before=-1) == []
    assert len(await directory.audit(5, before=1 << 80)) == 5


async def test_what_is_refused_leaves_no_trace(scene: Scene) -> None:
    """Neither a row nor a revision that others would look for."""
    await scene.make_tenant()
    await scene.there.directory.refresh()
    told = scene.there.changes
    await refusal(scene.directory.create_tenant(OPERATOR, tenant()))
    await refusal(scene.directory.revoke_key(OPERATOR, "acme", "web"))
    await scene.there.directory.refresh()
    assert (scene.there.changes, await scene.count("audit")) == (told, 1)
