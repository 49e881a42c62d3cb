"""Keys that are known and still refused, each with its reason: what is not built yet, and what is no choice.

Shorten the tables as things get built.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from gateway.config.document import Document
from gateway.config.mistakes import KeyPath, Mistake, dotted

_UNTIL = "is not built yet, so nothing would act on it: remove it"

REFUSED: Mapping[tuple[str, ...], str] = MappingProxyType(
    {
        ("server", "ready_grace_s"): f"{_UNTIL} (readiness ends when the server stops)",
        ("server", "drain_s"): _UNTIL,
        ("server", "max_in_flight"): f"{_UNTIL} (requests in flight are bounded by pool.connections alone)",
        ("providers", "*", "breaker"): f"{_UNTIL} (no circuit opens)",
        ("providers", "*", "unfinished"): f"{_UNTIL} (a client that leaves cancels its stream upstream)",
        ("providers", "*", "tls", "verify"): (
            "is not a choice, certificates are always verified: remove it, and name a private authority in tls.ca_file"
        ),
        ("models", "*", "hedge"): f"{_UNTIL} (one request is sent to one target at a time)",
        ("models", "*", "targets", "*", "weight"): f"{_UNTIL} (targets are taken in their order)",
        ("tenants", "*", "limits"): f"{_UNTIL} (no tenant is limited)",
        ("tenants", "*", "budget"): f"{_UNTIL} (no tenant has a budget)",
        ("cache",): f"{_UNTIL} (every request goes to a provider)",
        ("stores",): f"{_UNTIL} (this process keeps its state in memory)",
        ("ledger",): f"{_UNTIL} (costs are counted in metrics and in the access log)",
        ("admin",): f"{_UNTIL} (there is no admin API)",
    }
)
"""Keys of the design that this version refuses, by path; ``*`` stands for any name or position."""

REFUSED_VALUES: Mapping[tuple[str, ...], Mapping[str, str]] = MappingProxyType(
    {("models", "*", "balance"): {"weighted": _UNTIL, "least_busy": _UNTIL}}
)
"""Values that this version refuses where it takes others."""


def refused(document: Document) -> Iterator[Mistake]:
    """Find every refused key and value."""
    for path, value in _walk(document.tree, ()):
        reason = _reason(path, value)
        if reason is not None:
            yield Mistake(dotted(path), reason, line=document.lines.get(path))


def without_refused(tree: dict[str, object]) -> dict[str, object]:
    """Return the tree without them, so that nothing blames them again as unknown."""
    return {key: _pruned(value, (key,)) for key, value in tree.items() if _reason((key,), value) is None}


def _pruned(value: object, path: KeyPath) -> object:
    if isinstance(value, dict):
        return {
            key: _pruned(child, (*path, key)) for key, child in value.items() if _reason((*path, key), child) is None
        }
    if isinstance(value, list):
        return [_pruned(child, (*path, position)) for position, child in enumerate(value)]
    return value


def _walk(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    children: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(value, dict):
        children = iter(value.items())
    elif isinstance(value, list):
        children = iter(enumerate(value))
    for part, child in children:
        yield (*path, part), child
        if _reason((*path, part), child) is None:
            yield from _walk(child, (*path, part))


def _reason(path: KeyPath, value: object) -> str | None:
    for pattern, sentence in REFUSED.items():
        if _matches(path, pattern):
            return sentence
    for pattern, words in REFUSED_VALUES.items():
        if _matches(path, pattern) and isinstance(value, str) and value in words:
            return f"{value} {words[value]}"
    return None


def _matches(path: KeyPath, pattern: tuple[str, ...]) -> bool:
    return len(path) == len(pattern) and all(want in ("*", part) for part, want in zip(path, pattern, strict=True))
