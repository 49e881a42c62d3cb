"""The OpenAPI 3.1 document of the admin API, made from the table that serves it, so that the two cannot differ.

Its schemas are JSON Schema 2020-12, as OpenAPI 3.1 has them (https://spec.openapis.org/oas/v3.1.1).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, RootModel
from pydantic.json_schema import models_json_schema

from gateway import __version__
from gateway.admin.access import Role
from gateway.admin.operation import Nothing, Operation
from gateway.admin.reading import JSON, YAML
from gateway.admin.refusals import KINDS, ErrorAnswer

_SCHEMAS: Final = "#/components/schemas/"
_ALWAYS: Final = ("unauthorized", "admin_closed", "internal", "database_down")
_OF_BODY: Final = (
    "invalid_request",
    "request_timeout",
    "request_too_large",
    "unsupported_media_type",
    "expectation_failed",
)

Mode = Literal["validation", "serialization"]


class OpenApiAnswer(RootModel[dict[str, object]]):
    """This document."""


def document(operations: Iterable[Operation[Any, Any]]) -> dict[str, object]:
    """Return the document of some operations."""
    operations = tuple(operations)
    names, definitions = models_json_schema(list(_models(operations)), ref_template=_SCHEMAS + "{model}")
    schemas = definitions["$defs"]
    paths: dict[str, dict[str, object]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, names, schemas)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "AI gateway: admin API",
            "version": __version__,
            "description": "Tenants, keys, spending, usage, providers and the configuration. GET also answers HEAD.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "admin.key, or admin.viewer_key to look."}
            },
        },
    }


def _models(operations: Iterable[Operation[Any, Any]]) -> Iterator[tuple[type[BaseModel], Mode]]:
    """Every model that a schema refers to, once for each direction."""
    yield ErrorAnswer, "serialization"
    for operation in operations:
        if operation.takes_body and operation.body is not Nothing:
            yield operation.body, "validation"
        if isinstance(operation.answer, type):
            yield operation.answer, "serialization"


def _operation(
    operation: Operation[Any, Any], names: Mapping[Any, Any], schemas: Mapping[str, Any]
) -> dict[str, object]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in operation.variables
    ]
    told: dict[str, object] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": "For the admin key." if operation.role is Role.ADMIN else "For the admin and the viewer key.",
        "parameters": [*parameters, *_query(operation.query)],
        "responses": _responses(operation, names),
    }
    if operation.takes_body and operation.body is not Nothing:
        told["requestBody"] = _body(operation, names, schemas)
    return told


def _query(query: type[BaseModel]) -> Iterator[dict[str, object]]:
    schema = query.model_json_schema()
    for name, property_ in schema.get("properties", {}).items():
        kept = {key: value for key, value in property_.items() if key not in ("title", "description")}
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": property_.get("description", ""),
            "schema": kept,
        }


def _body(operation: Operation[Any, Any], names: Mapping[Any, Any], schemas: Mapping[str, Any]) -> dict[str, object]:
    schema = names[operation.body, "validation"]
    required = bool(operation.body.model_json_schema().get("required"))
    if operation.named_by is not None:
        # What the path says may be left out of the body, which the schema of the model requires.
        whole = schemas[schema["$ref"].removeprefix(_SCHEMAS)]
        needed = [name for name in whole.get("required", ()) if name != "id"]
        schema, required = {**whole, "required": needed}, bool(needed)
    content: dict[str, object] = {JSON: {"schema": schema}}
    if operation.yaml_field is not None:
        content[YAML[0]] = {"schema": {"type": "string"}}
    return {"required": required, "content": content}


def _responses(operation: Operation[Any, Any], names: Mapping[Any, Any]) -> dict[str, object]:
    responses: dict[str, object] = {str(operation.status): _success(operation, names)}
    meanings: dict[int, list[str]] = {}
    for code in _codes(operation):
        meanings.setdefault(KINDS[code].status, []).append(f"`{code}`: {KINDS[code].meaning}")
    for status, told in sorted(meanings.items()):
        responses[str(status)] = {
            "description": " ".join(told),
            "content": {JSON: {"schema": names[ErrorAnswer, "serialization"]}},
        }
    return responses


def _codes(operation: Operation[Any, Any]) -> Iterator[str]:
    """The codes that an operation may fail with."""
    yield from _ALWAYS
    if operation.role is Role.ADMIN:
        yield "forbidden"
    if operation.takes_body:
        yield from _OF_BODY
    else:
        yield "invalid_request"
    if operation.variables:
        yield "not_found"
    yield from operation.fails


def _success(operation: Operation[Any, Any], names: Mapping[Any, Any]) -> dict[str, object]:
    if operation.answer is None:
        return {"description": "Done."}
    if isinstance(operation.answer, tuple):
        return {
            "description": "A file, as it is made.",
            "content": {kind: {"schema": {"type": "string"}} for kind in operation.answer},
        }
    told = (operation.answer.__doc__ or "Done.").strip().splitlines()[0]
    return {"description": told, "content": {JSON: {"schema": names[operation.answer, "serialization"]}}}
