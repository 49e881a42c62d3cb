"""The configuration over HTTP: shown without secrets, looked at without being taken, and taken."""

from typing import Any

import pytest

from gateway.stores.sql.group import DatabaseDown
from tests.admin.house import House, error_of

MISTAKES: list[dict[str, object]] = [
    {"key": "server.prot", "message": "is not a key of this section", "line": 3, "hint": "Did you mean port?"},
    {"key": "", "message": "is not YAML", "line": None, "hint": None},
]


async def test_what_runs_is_told(house: House) -> None:
    """Where it came from, since when, and a digest that tells whether two processes run the same."""
    told = (await house.get("/admin/config")).json()
    assert told == {"source": "gateway.yaml", "loaded_at": "2026-09-21T14:13:20Z", "digest": "0" * 64}


@pytest.mark.parametrize("as_yaml", [True, False])
async def test_a_text_is_looked_at_and_not_taken(house: House, as_yaml: bool) -> None:
    """As YAML or within JSON; every mistake with its line, and nothing changes or is written down."""
    text = "server:\n  prot: 1\n"

    async def validate() -> Any:
        if as_yaml:
            return (await house.post("/admin/config/validate", text.encode(), ("Content-Type", "text/yaml"))).json()
        return (await house.post("/admin/config/validate", {"yaml": text})).json()

    assert await validate() == {"valid": True, "mistakes": []}
    house.configuration.mistakes = MISTAKES
    assert await validate() == {"valid": False, "mistakes": MISTAKES}
    assert house.configuration.seen == [text, text]
    assert (house.configuration.reloads, await house.audited()) == (0, [])


@pytest.mark.parametrize(
    ("body", "param"), [({}, "yaml"), ({"yaml": 1}, "yaml"), ({"yaml": {"server": {}}}, "yaml"), ({"yml": ""}, "yaml")]
)
async def test_only_a_text_is_looked_at(house: House, body: object, param: str) -> None:
    """Other bodies are refused by their fields."""
    answer = await house.post("/admin/config/validate", body)
    assert (answer.status, error_of(answer)["param"]) == (400, param)


async def test_a_reload_tells_what_has_changed(house: House) -> None:
    """And the audit has that it was asked for, and what came of it."""
    answer = await house.post("/admin/config/reload")
    assert answer.status == 200
    assert answer.json()["changed"] == ["models.gpt-4o.price"]
    assert answer.json()["config"]["digest"].endswith("01")
    assert await house.audited() == [
        ("admin key", "config.reload", "config"),
        ("admin key", "config.reloaded", "config"),
    ]
    newest = (await house.get("/admin/audit?limit=1")).json()["entries"][0]
    assert newest["details"] == {"digest": f"{1:064x}", "changed": ["models.gpt-4o.price"]}


async def test_a_file_with_mistakes_is_refused_with_all_of_them(house: House) -> None:
    """409: the request is right, the file is not."""
    house.configuration.mistakes = MISTAKES
    answer = await house.post("/admin/config/reload")
    assert (answer.status, error_of(answer)["code"]) == (409, "config_refused")
    assert "server.prot: is not a key" in error_of(answer)["message"]
    assert answer.json()["mistakes"] == MISTAKES
    assert [action for _, action, _ in await house.audited()] == ["config.reload", "config.refused"]


async def test_a_database_that_goes_in_a_reload_does_not_undo_it(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has been asked for, which is written down; that it was done is in the log."""
    reload, note = house.configuration.reload, house.directory.note
    noted: list[str] = []

    async def once(actor: str, action: str, *rest: Any) -> None:
        if noted:
            raise DatabaseDown("gone")
        noted.append(action)
        await note(actor, action, *rest)

    monkeypatch.setattr(type(house.directory), "note", lambda _, *given: once(*given))
    monkeypatch.setattr(house.configuration, "reload", reload)
    assert (await house.post("/admin/config/reload")).status == 200
    assert (noted, house.configuration.reloads) == (["config.reload"], 1)
    assert "the audit has no entry for config.reloaded" in caplog.text
