"""What in the database is not valid is left out, and stops nobody else."""

import pytest

from tests.tenancy.directory_scene import OPERATOR, Scene, tenant


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("{", "settings: Invalid JSON"),
        ("[1]", "settings: Input should be an object"),
        ('{"id": "acme", "colour": "red"}', "colour: Extra inputs are not permitted"),
        ('{"id": "acme", "budget": {"usd": -1}}', "budget.usd: Input should be greater than or equal to 0"),
        ('{"id": "acme", "a\\nb": 1}', "a\\nb: Extra inputs are not permitted"),
        ('{"id": "beta"}', "id: is another than that of its row"),
        ("[" * 5000, "settings: "),
    ],
    ids=["no JSON", "a list", "an unknown field", "a wrong value", "a line break", "another id", "depth"],
)
async def test_settings_that_are_not_valid_leave_one_tenant_out(
    scene: Scene, settings: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Told once and shown to operators, who can mend it; all others are served."""
    await scene.make_tenant("good")
    await scene.make_tenant()
    good, bad = await scene.make_key("web", "good"), await scene.make_key()
    quoted = settings.replace("'", "''")
    await scene.sql(f"UPDATE tenants SET settings = '{quoted}' WHERE tenant_id = 'acme'")
    for replica in (scene.here, scene.there):
        caplog.clear()
        await replica.directory.refresh()
        await replica.directory.refresh()
        assert (replica.opens(good), replica.opens(bad)) == ("good/web", "unknown")
        assert caplog.text.count("the tenant acme is left out") == 1
        assert why in caplog.text
    shown = await scene.directory.tenant("acme")
    assert shown.settings is None and shown.unreadable is not None and why in shown.unreadable
    assert [one.id for one in await scene.directory.tenants()] == ["acme", "good"]
    await scene.directory.replace_tenant(OPERATOR, "acme", tenant())
    assert scene.here.opens(bad) == "acme/web"


@pytest.mark.parametrize("address", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE keys SET settings = '{' WHERE key_id = 'bad'",
        """UPDATE keys SET settings = '{"limits": {"concurrent": 0}}' WHERE key_id = 'bad'""",
        "UPDATE key_secrets SET digest = 'xyz' WHERE key_id = 'bad'",
        "UPDATE key_secrets SET digest = 'abcd' WHERE key_id = 'bad'",
    ],
    ids=["no JSON", "a wrong value", "no hex", "a short digest"],
)
async def test_a_key_that_is_not_valid_opens_nothing(
    scene: Scene, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Without its limits it would be free of them."""
    await scene.make_tenant()
    good, bad = await scene.make_key("good"), await scene.make_key("bad")
    await scene.sql(statement)
    await scene.directory.refresh()
    assert (scene.here.opens(good), scene.here.opens(bad)) == ("acme/good", "unknown")
    assert "the key acme/bad is left out" in caplog.text
    (shown, _) = await scene.directory.keys("acme")
    assert shown.unreadable is not None
