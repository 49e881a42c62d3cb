"""Tools: which one a request wants called, and arguments that fit its schema."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from gateway.simulator.refusals import invalid

_MAX_DEPTH = 5
_MAX_PROPERTIES = 16
_LARGEST_EXACT = 2**53 - 1
"""Integers up to here are the same in every JSON parser (RFC 8259, 6)."""
_WORDS = ("Zürich", "São Paulo", "Kyoto", "Nairobi", "Reykjavík", "Valparaíso", "Tromsø", "Wellington")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; ``schema`` is the JSON Schema of its arguments."""

    name: str
    schema: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolWish:
    """What a request says of tools: the one it forces, the first it offers, the length of the definitions."""

    forced: Tool | None = None
    offered: Tool | None = None
    definition_bytes: int = 0


NO_TOOLS = ToolWish()


def chat_tools(body: Json) -> ToolWish:
    """Reads ``tools`` and ``tool_choice`` of Chat Completions."""
    tools = [
        _tool(entry["function"], "parameters") for entry in _entries(body) if isinstance(entry.get("function"), dict)
    ]
    choice = body.get("tool_choice")
    named = choice.get("function") if isinstance(choice, dict) else None
    return _wish(body, tools, choice, named)


def responses_tools(body: Json) -> ToolWish:
    """Reads ``tools`` and ``tool_choice`` of Responses; built-in tools are never called."""
    tools = [_tool(entry, "parameters") for entry in _entries(body) if entry.get("type") == "function"]
    choice = body.get("tool_choice")
    named = choice if isinstance(choice, dict) and choice.get("type") == "function" else None
    return _wish(body, tools, choice, named)


def anthropic_tools(body: Json) -> ToolWish:
    """Reads ``tools`` and ``tool_choice`` of Messages; server tools are never called."""
    tools = [_tool(entry, "input_schema") for entry in _entries(body) if "input_schema" in entry]
    choice = body.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else None
    mode = {"any": "required", "none": "none"}.get(str(kind), "auto")
    return _wish(body, tools, mode, choice if kind == "tool" else None)


def _entries(body: Json) -> list[Json]:
    entries = body.get("tools") or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise invalid("Invalid type for 'tools': expected a list of objects.", "tools")
    return entries


def _tool(definition: Json, schema_key: str) -> Tool:
    name, schema = definition.get("name"), definition.get(schema_key)
    if not isinstance(name, str) or not name:
        raise invalid("Missing required parameter: 'tools[].name'.", "tools")
    return Tool(name, schema if isinstance(schema, dict) else {})


def _wish(body: Json, tools: list[Tool], mode: object, named: object) -> ToolWish:
    size = len(orjson.dumps(body["tools"])) if body.get("tools") else 0
    if isinstance(named, Mapping):
        found = next((tool for tool in tools if tool.name == named.get("name")), None)
        if found is None:
            raise invalid("Tool choice names a function that is not in 'tools'.", "tool_choice")
        return ToolWish(found, found, size)
    if mode == "required" and not tools:
        raise invalid("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
    if mode == "none" or not tools:
        return ToolWish(definition_bytes=size)
    return ToolWish(tools[0] if mode == "required" else None, tools[0], size)


def arguments(tool: Tool, rng: Random) -> str:
    """Returns a JSON object that fits the tool's schema, as text."""
    made = _value({"type": "object", **tool.schema}, rng, 0)
    return orjson.dumps(made).decode()


def _value(schema: object, rng: Random, depth: int) -> Any:
    if not isinstance(schema, dict):
        return rng.choice(_WORDS)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if isinstance(allowed := schema.get("enum"), list) and allowed:
        return rng.choice(allowed)
    for key in ("anyOf", "oneOf"):
        if isinstance(variants := schema.get(key), list) and variants and depth < _MAX_DEPTH:
            return _value(variants[0], rng, depth + 1)
    return _typed(schema, rng, depth)


def _typed(schema: Json, rng: Random, depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    match kind:
        case "object":
            return _object(schema, rng, depth)
        case "array":
            return [_value(schema.get("items"), rng, depth + 1)] if depth < _MAX_DEPTH else []
        case "integer" | "number":
            return _number(schema, rng, whole=kind == "integer")
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
        case _:
            return rng.choice(_WORDS)


def _object(schema: Json, rng: Random, depth: int) -> Json:
    properties = schema.get("properties")
    if not isinstance(properties, dict) or depth >= _MAX_DEPTH:
        return {}
    required = schema.get("required")
    first = [name for name in properties if name in required] if isinstance(required, list) else []
    wanted = list(dict.fromkeys([*first, *properties]))[: max(_MAX_PROPERTIES, len(first))]
    return {name: _value(properties[name], rng, depth + 1) for name in wanted}


def _number(schema: Json, rng: Random, *, whole: bool) -> int | float:
    low, high = _bound(schema.get("minimum"), 1), _bound(schema.get("maximum"), 100)
    if whole:
        return rng.randint(math.ceil(low), max(math.ceil(low), math.floor(high)))
    return min(max(low, high), max(low, round(rng.uniform(low, high), 2)))


def _bound(declared: object, otherwise: int) -> int | float:
    if not isinstance(declared, int | float):
        return otherwise
    return min(_LARGEST_EXACT, max(-_LARGEST_EXACT, declared))
