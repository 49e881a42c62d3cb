"""All operations together: what each key may, and that nothing is left out."""

import pytest

from gateway.admin.access import Role
from tests.admin.house import VIEWER_KEY, House, error_of
from tests.admin.requests import EVERY, Asked

LOOKS = {
    "list_tenants",
    "get_tenant",
    "list_keys",
    "get_spending",
    "get_usage",
    "export_ledger",
    "list_audit",
    "list_providers",
    "get_config",
    "get_openapi",
}
"""What the viewer key may; everything else is for the admin key."""


def path_of(house: House, asked: Asked) -> tuple[str, str]:
    """Method and path of a request, on the tenant that is always there."""
    operation = next(one for one in house.table.operations if one.name == asked.operation)
    variables = {**asked.variables, **({"tenant_id": "acme"} if "tenant_id" in asked.variables else {})}
    return operation.method, operation.path.format(**variables)


@pytest.mark.parametrize("asked", EVERY, ids=lambda asked: asked.operation)
async def test_the_viewer_key_looks_and_changes_nothing(house: House, asked: Asked) -> None:
    """Every route, one by one: 200, or 403 before anything is read, done or written down."""
    method, path = path_of(house, asked)
    body = asked.body if method in ("POST", "PUT") else None
    answer = await house.ask(method, path, body, key=VIEWER_KEY)
    if asked.operation in LOOKS:
        assert answer.status == 200
    else:
        assert (answer.status, error_of(answer)["code"]) == (403, "forbidden")
        unread = await house.ask(method, path, b"{", key=VIEWER_KEY)
        assert unread.status == 403
    assert await house.audited() == []
    assert (house.providers.orders, house.configuration.reloads, house.configuration.seen) == ([], 0, [])


async def test_what_only_looks_is_get_and_the_rest_is_not(house: House) -> None:
    """No operation that changes something can be reached by a link, and none that looks is kept from viewers."""
    for operation in house.table.operations:
        assert (operation.role is Role.VIEWER) == (operation.name in LOOKS) == (operation.method == "GET")


async def test_every_request_of_the_tests_is_of_an_operation_and_the_other_way_round(house: House) -> None:
    """The walk through the document misses none."""
    assert sorted(asked.operation for asked in EVERY) == sorted(one.name for one in house.table.operations)
