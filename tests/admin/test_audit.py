"""The audit over HTTP: newest first, page by page, to its end."""

import pytest

from tests.admin.house import House, error_of


async def test_entries_are_listed_page_by_page(house: House) -> None:
    """Each once; the last page says that it is."""
    for n in range(5):
        await house.directory.note("admin key", f"thing.{n}", "thing", {"n": n, "was": None})
        house.now_s += 1
    found = []
    before: int | None = None
    for size in (2, 2, 1):
        where = "/admin/audit?limit=2" + (f"&before={before}" if before else "")
        page = (await house.get(where)).json()
        assert len(page["entries"]) == size
        found += page["entries"]
        before = page["next_before"]
    assert before is None
    assert [one["action"] for one in found] == [f"thing.{n}" for n in (4, 3, 2, 1, 0)]
    assert found[-1] == {
        "number": found[-1]["number"],
        "at": "2026-09-21T14:13:20.250000Z",
        "actor": "admin key",
        "action": "thing.0",
        "subject": "thing",
        "details": {"n": 0, "was": None},
    }


async def test_an_audit_without_entries_is_empty(house: House) -> None:
    """And looking is not written down."""
    for _ in range(2):
        assert (await house.get("/admin/audit")).json() == {"entries": [], "next_before": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "before=0", "before=99999999999999999999", "b=1"])
async def test_what_cannot_be_asked_is_refused(house: House, query: str) -> None:
    """By the parameter."""
    answer = await house.get(f"/admin/audit?{query}")
    assert (answer.status, error_of(answer)["param"]) == (400, query.partition("=")[0])
