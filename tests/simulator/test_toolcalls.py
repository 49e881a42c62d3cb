"""Arguments fit the schema that the tool declares."""

from types import UnionType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.prose import source
from gateway.simulator.toolcalls import Tool, arguments

TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
    "object": dict,
    "array": list,
}


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Checks the keywords that the simulator claims to know."""
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    if not isinstance(value, TYPES[schema["type"]]):
        return False
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        present = set(schema.get("required", ())) <= set(value) <= set(properties)
        return present and all(fits(inner, properties[name]) for name, inner in value.items())
    if isinstance(value, list):
        return all(fits(inner, schema["items"]) for inner in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True


plain = st.one_of(
    st.sampled_from([{"type": name} for name in ("string", "number", "integer", "boolean", "null")]),
    st.lists(st.text(), min_size=1).map(lambda allowed: {"enum": allowed}),
    st.integers(-(2**53), 2**53).map(lambda value: {"const": value}),
    st.tuples(st.integers(-999, 999), st.integers(0, 999)).map(
        lambda range_: {"type": "integer", "minimum": range_[0], "maximum": range_[0] + range_[1]}
    ),
)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)[::2]}


def _around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = inner.map(lambda items: {"type": "array", "items": items})
    return lists | st.dictionaries(st.text(), inner, max_size=4).map(_object)


schemas = st.dictionaries(st.text(), st.recursive(plain, _around, max_leaves=6), max_size=4).map(_object)


@given(schemas, st.integers())
def test_arguments_fit_their_schema(schema: dict[str, Any], seed: int) -> None:
    """Whatever a tool declares in these keywords, its arguments are of that shape, as one JSON object."""
    made = orjson.loads(arguments(Tool("f", schema), source(seed)))
    # beyond five levels objects and lists are left empty
    if _depth(schema) <= 5:
        assert fits(made, schema)
    assert isinstance(made, dict)


def _depth(schema: dict[str, Any]) -> int:
    inner = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    return 1 + max(map(_depth, inner), default=0)


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ({"type": ["integer", "null"]}, int),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, bool),
        ({"default": "x", "type": "string"}, str),
        ({"type": "object"}, dict),
        ({}, str),
        (True, str),
        ({"type": "integer", "minimum": "low"}, int),
        ({"type": "integer", "minimum": 1e300}, int),
        ({"type": "number", "minimum": 200}, float | int),
        ({"type": []}, str),
    ],
)
def test_odd_declarations(declared: Any, kind: type | UnionType) -> None:
    """What is declared oddly still gets a value of a sensible type."""
    made = orjson.loads(arguments(Tool("f", {"properties": {"a": declared}}), source(0)))
    assert isinstance(made["a"], kind)


def test_a_tool_without_schema() -> None:
    """No schema, no arguments."""
    assert arguments(Tool("f"), source(0)) == "{}"
