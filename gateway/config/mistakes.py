"""What is wrong with a configuration, in sentences that say which key, what was found and what to write."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of the file."""

_SECRET_KEYS = frozenset(
    {"api_key", "api_keys", "hash", "headers", "key", "keys", "metrics_token", "password", "query", "viewer_key"}
)
_SECRET_TEXT = re.compile(r"\b(?:sk|agw|xai|gsk|ghp)[-_][^\s'\"]+|\bBearer\s+[^\s'\"]+|\bAIza[^\s'\"]+")
_USERINFO = re.compile(r"//[^/\s@]*@")
_MAX_SHOWN = 60
_PLAIN = {"None": "nothing (null)", "True": "true", "False": "false"}


def dotted(path: KeyPath) -> str:
    """Write a path as people do: ``providers.openai.api_keys.0``; a key with dots of its own is quoted."""
    return ".".join(f'"{part}"' if isinstance(part, str) and ("." in part or not part) else str(part) for part in path)


def masked(text: str) -> str:
    """Hide what looks like a credential: known key prefixes, bearer tokens, the user of an address."""
    return _USERINFO.sub("//***@", _SECRET_TEXT.sub("***", text))


def shown(value: object, path: KeyPath, reference: str | None) -> str:
    """Write a value so that its reader knows it again, and nobody learns a secret from it.

    Args:
        value: as read.
        path: where it stands; what stands under a secret's key is never shown.
        reference: the text with ``${NAME}`` that it came from; then only this is shown.
    """
    if reference is not None:
        return masked(f"the text of {reference!r}")
    if any(part in _SECRET_KEYS for part in path[-2:]):
        return "a value that is not shown here (it may be secret)"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    text = repr(value) if isinstance(value, str) else _PLAIN.get(str(value), str(value))
    return masked(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to change.

    ``key`` is dotted (empty: the whole file), ``message`` a sentence that goes on from it, ``found`` the
    value as it may be shown, ``hint`` a further sentence, ``line`` counts from 1.
    """

    key: str
    message: str
    found: str | None = None
    hint: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        head = masked(self.key) or "the file"
        where = f" (line {self.line})" if self.line is not None else ""
        found = f"; found {self.found}" if self.found else ""
        hint = f" {self.hint}" if self.hint else ""
        return f"{head}{where}: {masked(self.message)}{found}.{masked(hint)}"


class ConfigError(Exception):
    """A configuration that is not used; ``mistakes`` holds all that is wrong with it, in the file's order."""

    def __init__(self, source: str, mistakes: Sequence[Mistake]) -> None:
        self.source = source
        self.mistakes = tuple(mistakes)
        count = len(self.mistakes)
        head = f"{source} has {count} {'mistake' if count == 1 else 'mistakes'}"
        super().__init__("\n\n".join([f"{head}:", *map(str, self.mistakes)]))
