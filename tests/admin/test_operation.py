"""Paths lead to operations, by what was sent and not by what it decodes to."""

from typing import Any

import pytest

from gateway.admin.access import Role
from gateway.admin.operation import Call, Method, Nothing, Operation, Table


async def nothing(call: Call[Nothing, Nothing]) -> None:
    """Does it."""


def operation(method: Method, path: str) -> Operation[Any, Any]:
    """One that does nothing."""
    return Operation(f"{method} {path}", method, path, "Nothing", Role.VIEWER, nothing, Nothing, Nothing, None)


TABLE = Table(
    [
        operation("GET", "/admin/tenants"),
        operation("POST", "/admin/tenants"),
        operation("GET", "/admin/tenants/{tenant_id}"),
        operation("PUT", "/admin/tenants/{tenant_id}/keys/{key_id}"),
        operation("POST", "/admin/tenants/{tenant_id}/keys/{key_id}/rotate"),
    ]
)


@pytest.mark.parametrize(
    ("path", "methods", "variables"),
    [
        ("/admin/tenants", {"GET", "POST"}, {}),
        ("/adm%69n/ten%61nts", {"GET", "POST"}, {}),
        ("/admin/tenants/acme", {"GET"}, {"tenant_id": "acme"}),
        ("/admin/tenants/a%20b%00%0a", {"GET"}, {"tenant_id": "a b\0\n"}),
        ("/admin/tenants/acme%2Fkeys%2Fweb", {"GET"}, {"tenant_id": "acme/keys/web"}),
        ("/admin/tenants/acme/keys/..", {"PUT"}, {"tenant_id": "acme", "key_id": ".."}),
        ("/admin/tenants/a/keys/b/rotate", {"POST"}, {"tenant_id": "a", "key_id": "b"}),
        ("/admin/tenants/%C3%BC", {"GET"}, {"tenant_id": "ü"}),
    ],
)
def test_a_path_is_found(path: str, methods: set[str], variables: dict[str, str]) -> None:
    """An encoded slash is part of a name: whoever quotes an id reaches no other route with it."""
    found = TABLE.find(path)
    assert found is not None
    assert (set(found[0]), dict(found[1])) == (methods, variables)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/admin",
        "/admin/",
        "/admin/tenants/",
        "//admin/tenants",
        "/admin//tenants",
        "/admin/tenants/a/keys/",
        "/admin/tenants/a/keys//rotate",
        "/admin/tenants%2Fa",
        "/Admin/tenants",
        "/admin/tenants/%ff",
        "/admin/{tenant_id}",
    ],
)
def test_other_paths_are_not(path: str) -> None:
    """No empty names, no folding of slashes or of case, no bytes that are no text."""
    assert TABLE.find(path) is None


def test_no_operation_is_there_twice() -> None:
    """The second would never be reached."""
    with pytest.raises(ValueError, match="GET /admin/x is there twice"):
        Table([operation("GET", "/admin/x"), operation("GET", "/admin/x")])


def test_what_a_path_and_a_method_imply() -> None:
    """Names of the variable parts; bodies for POST and PUT alone."""
    rotate = operation("POST", "/admin/tenants/{tenant_id}/keys/{key_id}/rotate")
    assert rotate.variables == ("tenant_id", "key_id")
    methods: tuple[Method, ...] = ("GET", "POST", "PUT", "DELETE")
    assert [method for method in methods if operation(method, "/").takes_body] == ["POST", "PUT"]
