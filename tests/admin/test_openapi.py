"""The document: valid OpenAPI 3.1, complete, and true of every operation that it names."""

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.admin.openapi import document
from tests.admin.house import ADMIN_KEY, House
from tests.admin.requests import EVERY, Asked

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


def operations_of(told: dict[str, Any]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Method, path and operation by the operation's id."""
    return {
        operation["operationId"]: (method.upper(), path, operation)
        for path, item in told["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def address(told: dict[str, Any], asked: Asked) -> tuple[str, str]:
    """Method and address of a request, made from the document alone."""
    method, path, operation = operations_of(told)[asked.operation]
    parameters = {(one["name"], one["in"]) for one in operation["parameters"]}
    assert {(name, "path") for name in asked.variables} | {(name, "query") for name in asked.query} <= parameters
    for name, value in asked.variables.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    assert "{" not in path
    return method, path + (f"?{urlencode(asked.query)}" if asked.query else "")


async def test_every_operation_answers_as_its_document_says(house: House) -> None:
    """All are called once and succeed; bodies fit their schemas, and so do the answers (which the house checks)."""
    told = (await house.get("/admin/openapi.json")).json()
    called = []
    for asked in EVERY:
        method, path = address(told, asked)
        operation = operations_of(told)[asked.operation][2]
        if asked.body is not None:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            OAS31Validator({**schema, "components": told["components"]}).validate(asked.body)
        answer = await house.ask(method, path, asked.body)
        success = min(operation["responses"])
        assert (asked.operation, str(answer.status)) == (asked.operation, success), answer.body
        called.append(asked.operation)
    assert sorted(called) == sorted(operations_of(told))


@pytest.mark.parametrize("asked", EVERY, ids=lambda asked: asked.operation)
async def test_refusals_are_documented_too(house: House, asked: Asked) -> None:
    """Of every operation: without a key, with a parameter that it does not have, with a body that it does not take."""
    method, path = address(house.document, asked)
    assert (await house.ask(method, path, asked.body, key=None)).status == 401
    assert (await house.ask(method, path.partition("?")[0] + "?nonsense=1", asked.body)).status == 400
    if method in ("POST", "PUT"):
        unknown = {**(asked.body or {}), "nonsense": 1}
        answer = await house.ask(method, path, unknown)
        assert answer.status == 400
        assert "nonsense" in answer.json()["error"]["message"]
        assert (await house.ask(method, path, b"a=b", ("Content-Type", "text/html"))).status == 415
    assert await house.audited() == []


async def test_the_document_is_valid(house: House) -> None:
    """By the schema of OpenAPI 3.1, every reference and every default with it."""
    answer = await house.get("/admin/openapi.json")
    told = answer.json()
    assert told["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(told).validate()
    assert told == json.loads(json.dumps(document(house.table.operations)))


async def test_the_document_has_what_is_served_and_nothing_else(house: House) -> None:
    """Route for route, both ways, each with a summary and a name of its own."""
    told = (await house.get("/admin/openapi.json")).json()
    documented = {(method, path) for method, path, _ in operations_of(told).values()}
    served = {(operation.method, operation.path) for operation in house.table.operations}
    assert documented == served
    assert len(operations_of(told)) == len(served)
    assert all(operation["summary"] for _, _, operation in operations_of(told).values())
    assert ADMIN_KEY not in json.dumps(told)


async def test_everything_is_described(house: House) -> None:
    """Every parameter of a query and every field of a schema says what it is."""
    told = house.document
    for name, (_, _, operation) in operations_of(told).items():
        for parameter in operation["parameters"]:
            assert parameter["in"] == "path" or parameter["description"], (name, parameter)
    for name, schema in told["components"]["schemas"].items():
        for field, property_ in schema.get("properties", {}).items():
            assert "description" in property_ or "$ref" in property_, (name, field)


def test_what_the_path_says_may_be_left_out_of_the_body(house: House) -> None:
    """The id; a body without anything is then a body."""
    operations = operations_of(house.document)
    for name, required in (
        ("create_tenant", ["id"]),
        ("replace_tenant", []),
        ("create_key", ["id"]),
        ("replace_key", []),
    ):
        body = operations[name][2]["requestBody"]
        schema = body["content"]["application/json"]["schema"]
        if "$ref" in schema:
            schema = house.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        assert (schema.get("required", []), body["required"]) == (required, bool(required))
