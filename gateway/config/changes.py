"""What differs between two configurations, named by key and never by value; and what may not differ in a reload."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, Literal

from pydantic import SecretStr

from gateway.config.assembly import Config
from gateway.config.mistakes import ConfigError, KeyPath, Mistake, dotted
from gateway.core.settings import Settings

FIXED: Final[tuple[KeyPath, ...]] = (
    ("server", "host"),
    ("server", "port"),
    ("stores",),
    ("ledger",),
    ("admin", "port"),
    ("telemetry",),
)
"""What a running gateway cannot change: its sockets, where its state lives, and where its traces go."""

_NOT_FIXED: Final[tuple[KeyPath, ...]] = (("ledger", "tags"),)
"""What can change all the same, though it stands there."""

_HIDDEN: Final = "***"


@dataclass(frozen=True, slots=True)
class Change:
    """One key that is not as it was; of what was added or removed as a whole only the topmost."""

    path: KeyPath
    how: Literal["added", "removed", "changed"]

    def __str__(self) -> str:
        return f"{dotted(self.path)} {self.how}"


def changes(before: Config, after: Config) -> list[Change]:
    """Return what differs, in the order of the sections; tenants and keys are named by their ids."""
    return list(_differences((), _tree(before), _tree(after)))


def refuse_fixed(changed: Sequence[Change], source: str) -> None:
    """Refuse what cannot change while a gateway runs.

    Args:
        source: what the new configuration is called.

    Raises:
        ConfigError: with every key of it that differs.
    """
    mistakes = [
        Mistake(
            dotted(change.path), "cannot change while the gateway runs: restart the gateway, or take the change back"
        )
        for change in changed
        if _is_within(change.path, FIXED) and not _is_within(change.path, _NOT_FIXED)
    ]
    if mistakes:
        raise ConfigError(source, mistakes)


def _is_within(path: KeyPath, sections: Sequence[KeyPath]) -> bool:
    return any(path[: len(section)] == section for section in sections)


def digest(config: Config) -> str:
    """Return the SHA-256 (hex) of the effective settings, defaults included, in which every secret counts as the same.

    Two gateways with the same digest are configured alike, but for their secrets.
    """
    return hashlib.sha256(json.dumps(_plain(_tree(config)), sort_keys=True).encode()).hexdigest()


def _tree(config: Config) -> dict[str, object]:
    tree: dict[str, object] = {
        field.name: getattr(config, field.name)
        for field in fields(config)
        if field.name not in {"source", "models", "prices"}
    }
    return {**tree, "models": config.models.settings, "pricing": {"unpriced": config.models.unpriced}}


def _differences(path: KeyPath, before: object, after: object) -> Iterator[Change]:
    if before == after:
        return
    was, is_now = _parts(before), _parts(after)
    if was is None or is_now is None:
        yield Change(path, "changed")
        return
    for key in dict.fromkeys((*was, *is_now)):
        if key not in is_now:
            yield Change((*path, key), "removed")
        elif key not in was:
            yield Change((*path, key), "added")
        else:
            yield from _differences((*path, key), was[key], is_now[key])


def _parts(value: object) -> Mapping[str, object] | None:
    """What a value consists of, by name; None where it is one thing."""
    if isinstance(value, Settings):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return value
    if isinstance(value, tuple) and all(hasattr(item, "id") for item in value):
        return {item.id: item for item in value}
    return None


def _plain(value: object) -> object:
    """The same as JSON can say it, secrets hidden: those that are typed so, and what is kept out of every repr."""
    if isinstance(value, SecretStr):
        return _HIDDEN
    if isinstance(value, Settings):
        shown = type(value).model_fields.items()
        return {name: _plain(getattr(value, name)) if field.repr else _HIDDEN for name, field in shown}
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
