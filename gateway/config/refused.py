"""Keys that are known and still refused, each with its reason: what is not built yet, and what is no choice.

Shorten the table as things get built.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from gateway.config.document import Document
from gateway.config.mistakes import KeyPath, Mistake, dotted

_UNTIL = "is not built yet, so nothing would act on it: remove it"

REFUSED: Mapping[tuple[str, ...], str] = MappingProxyType(
    {
        ("providers", "*", "tls", "verify"): (
            "is not a choice, certificates are always verified: remove it, and name a private authority in tls.ca_file"
        ),
        ("cache",): f"{_UNTIL} (every request goes to a provider)",
    }
)
"""Keys of the design that this version refuses, by path; ``*`` stands for any name or position."""


def refused(document: Document) -> Iterator[Mistake]:
    """Find every refused key."""
    for path in _walk(document.tree, ()):
        reason = _reason(path)
        if reason is not None:
            yield Mistake(dotted(path), reason, line=document.lines.get(path))


def without_refused(tree: dict[str, object]) -> dict[str, object]:
    """Return the tree without them, so that nothing blames them again as unknown."""
    return {key: _pruned(value, (key,)) for key, value in tree.items() if _reason((key,)) is None}


def _pruned(value: object, path: KeyPath) -> object:
    if isinstance(value, dict):
        return {key: _pruned(child, (*path, key)) for key, child in value.items() if _reason((*path, key)) is None}
    if isinstance(value, list):
        return [_pruned(child, (*path, position)) for position, child in enumerate(value)]
    return value


def _walk(value: object, path: KeyPath) -> Iterator[KeyPath]:
    children: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(value, dict):
        children = iter(value.items())
    elif isinstance(value, list):
        children = iter(enumerate(value))
    for part, child in children:
        yield (*path, part)
        if _reason((*path, part)) is None:
            yield from _walk(child, (*path, part))


def _reason(path: KeyPath) -> str | None:
    return next((sentence for pattern, sentence in REFUSED.items() if _matches(path, pattern)), None)


def _matches(path: KeyPath, pattern: tuple[str, ...]) -> bool:
    return len(path) == len(pattern) and all(want in ("*", part) for part, want in zip(path, pattern, strict=True))
