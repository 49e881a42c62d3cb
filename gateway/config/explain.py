"""From what pydantic says to what people can act on: key, value, what is allowed, the nearest valid word."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from gateway.config.document import Document
from gateway.config.mistakes import KeyPath, Mistake, dotted, shown

Schema = Mapping[str, Any]

_KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
    "null": "null",
}

_BETWEEN = frozenset({"[key]", "<word>", "<price>", "<text>", "<mapping>"})
"""Pydantic's mark of a mapping's key, and the tags of the settings' discriminated unions."""


class Explainer:
    """Knows the settings' JSON Schema, which holds every key, kind and bound.

    Args:
        root: the model of the whole file.
    """

    def __init__(self, root: type[BaseModel]) -> None:
        self._schema = root.model_json_schema()

    def explain(self, error: ValidationError, document: Document, most: int | None = None) -> list[Mistake]:
        """Return one mistake for each thing that pydantic refused, of the first ``most`` of them (None: all)."""
        mistakes = []
        for details in error.errors(include_url=False, include_context=False, include_input=False)[:most]:
            path = in_file(details["loc"])
            if details["type"] == "default_factory_not_called":
                continue  # a default that depends on a key which is a mistake of its own
            if any(path[:n] in document.unreadable for n in range(1, len(path) + 1)):
                continue
            if details["type"] == "too_short" and _value(document.tree, path):
                continue  # pydantic counts only the entries that passed; the others are mistakes of their own
            mistakes.append(self._mistake(details["type"], details["loc"], details["msg"], document))
        return mistakes

    def _mistake(self, kind: str, loc: KeyPath, message: str, document: Document) -> Mistake:
        of_key = loc[-1:] == ("[key]",)
        # an unknown key is in the file, whatever its name
        path = (*in_file(loc[:-1]), loc[-1]) if kind == "extra_forbidden" else in_file(loc)
        line = next((document.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in document.lines), None)
        key = dotted(path)
        if kind == "extra_forbidden":
            return Mistake(key, "is not a key of this section", hint=self._hint_for_key(path), line=line)
        schema = self._at(path)
        if kind == "missing":
            return Mistake(key, f"is missing: write {_allowed(schema)}", hint=schema.get("description"), line=line)
        found = None if of_key else shown(_value(document.tree, path), path, document.references.get(path))
        if kind == "value_error":
            sentence = message.removeprefix("Value error, ")
            return Mistake(key, f"this name {sentence}" if of_key else sentence, found, line=line)
        hint = nearest(_value(document.tree, path), _words(schema)) if kind == "literal_error" else None
        if kind == "decimal_max_places":
            return Mistake(key, "must have at most 6 decimals", found, line=line)
        if kind == "string_type" and isinstance(_value(document.tree, path), (int, float)):
            hint = "Put it in quotes."
        return Mistake(key, f"must be {_allowed(schema)}", found, hint, line)

    def _hint_for_key(self, path: KeyPath) -> str:
        properties: Mapping[str, Schema] = self._at(path[:-1]).get("properties", {})
        asked = str(path[-1])
        for section, schema in properties.items():
            if asked in self._resolve(schema).get("properties", {}):
                return f"It belongs one level deeper: {section}: {{{asked}: …}}."
        guess = nearest(asked, properties)
        return f"{guess + ' ' if guess else ''}Allowed here: {', '.join(properties)}."

    def _at(self, path: KeyPath) -> Schema:
        schema = self._resolve(self._schema)
        for part in path:
            if isinstance(part, int):
                schema = self._resolve(schema.get("items", {}))
            else:
                below = schema.get("properties", {}).get(part)
                schema = self._resolve(below or _map_values(schema))
        return schema

    def _resolve(self, schema: Schema) -> Schema:
        """Follow references, and of several forms take the one that has parts of its own."""
        if "$ref" in schema:
            target: Any = self._schema
            for part in schema["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            return self._resolve({**target, **{k: v for k, v in schema.items() if k != "$ref"}})
        forms = schema.get("anyOf") or schema.get("oneOf")
        if forms:
            resolved = [self._resolve(form) for form in forms]
            for form in resolved:
                if form.get("type") in {"object", "array"}:
                    return {**form, "forms": resolved}
            return {**schema, "forms": resolved}
        return schema


MOST_AT_ONCE = 50
"""Mistakes that are explained of what came over HTTP, where a body may have one in every ten bytes."""


def mistakes_of(model: type[BaseModel], error: ValidationError, tree: Mapping[str, object]) -> list[Mistake]:
    """Return the first mistakes of a tree that was written for a model and that pydantic refused."""
    return Explainer(model).explain(error, Document(tree=dict(tree)), MOST_AT_ONCE)


def in_file(loc: KeyPath) -> KeyPath:
    """Leave out what pydantic puts between the file's own keys and positions."""
    return tuple(part for part in loc if part not in _BETWEEN)


def nearest(word: object, known: Mapping[str, object] | Sequence[str]) -> str | None:
    """Return ``Did you mean …?`` where a known word is close, else None."""
    close = get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else None


def _map_values(schema: Schema) -> Schema:
    below = schema.get("additionalProperties")
    return below if isinstance(below, Mapping) else {}


def _value(tree: object, path: KeyPath) -> object:
    for part in path:
        if isinstance(tree, dict):
            tree = tree.get(part)
        elif isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            tree = tree[part]
    return tree


def _allowed(schema: Schema) -> str:
    """Say in words what a schema allows."""
    if "forms" in schema:
        texts = dict.fromkeys(map(_allowed, schema["forms"]))
        if any("number" in text for text in texts):
            texts.pop(_KINDS["string"], None)  # a number may also come as text, from the environment
        return " or ".join(texts)
    if words := _words(schema):
        return " or ".join(words)
    return f"{_KINDS.get(schema.get('type', ''), 'something else')}{_bounds(schema)}"


def _words(schema: Schema) -> list[str]:
    """Return the words that a schema takes, of all its forms."""
    words = [str(word) for word in schema.get("enum", ())]
    if "const" in schema:
        words.append(str(schema["const"]))
    for form in schema.get("forms", ()):
        words += _words(form)
    return words


def _bounds(schema: Schema) -> str:
    if "maxLength" in schema:
        return f" of {schema.get('minLength', 0)} to {schema['maxLength']} characters"
    if "maxItems" in schema:
        return f" of at most {schema['maxItems']}"
    if schema.get("minItems") == 1 or schema.get("minLength") == 1:
        return " that is not empty"
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']:.15g} to {schema['maximum']:.15g}"
    if "exclusiveMinimum" in schema and "maximum" in schema:
        return f" above {schema['exclusiveMinimum']:.15g} and at most {schema['maximum']:.15g}"
    return ""
