"""Reading the configuration again while the gateway runs: for SIGHUP and for operators, with the same outcome.

A file that cannot be used changes nothing: every mistake is logged, and counted in
``config_reloads_total{result="refused"}``.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from gateway.admin.configuration import ConfigRefused
from gateway.config import Config, ConfigError, Mistake, assemble, changes, digest, load, read_document, refuse_fixed
from gateway.config.mistakes import masked
from gateway.core.clock import WallClock
from gateway.metrics import Metrics

log = logging.getLogger("gateway")

NO_FILE = "does not exist: the gateway runs what is built in; start it with --config FILE to have one"


def _nothing(config: Config) -> None:
    """Neither refuse a configuration nor do anything about it."""


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """Where a gateway's configuration comes from.

    Attributes:
        path: the file; None: the gateway was built without one.
        environ: what ``${NAME}`` in it stands for.
        check: raises :class:`ConfigError` for what this process cannot do.
        on_applied: what the process around the gateway does when another configuration holds.
    """

    path: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    check: Callable[[Config], None] = _nothing
    on_applied: Callable[[Config], None] = _nothing

    def read(self) -> Config:
        """Read the file, which takes some milliseconds per hundred lines.

        Raises:
            ConfigError: with every mistake in it; or there is no file.
        """
        if self.path is None:
            raise ConfigError("the built-in demo", [Mistake("", NO_FILE)])
        config = load(self.path, self.environ)
        self.check(config)
        return config

    def parse(self, text: str) -> Config:
        """Read a text as if it stood in the file.

        Raises:
            ConfigError: with every mistake in it.
        """
        config = assemble(read_document(text, self.environ), "the text")
        self.check(config)
        return config


NO_SOURCE = ConfigSource()
"""Of a gateway that was built without a file."""


class Reloadable(Protocol):
    """What goes by a configuration: :class:`gateway.app.Gateway`."""

    config: Config

    def reload(self, config: Config) -> list[str]:
        """Go by another one; return what has changed.

        Raises:
            ConfigError: nothing has changed.
        """


class Reloading:
    """Knows what configuration runs, and takes another one."""

    def __init__(self, gateway: Reloadable, source: ConfigSource, metrics: Metrics, wall_clock: WallClock) -> None:
        self._gateway = gateway
        self._source = source
        self._results = metrics.declared.config_reloads
        self._wall_clock = wall_clock
        self._one_at_a_time = asyncio.Lock()
        self._note_loaded()

    def _note_loaded(self) -> None:
        self._loaded_at = datetime.fromtimestamp(self._wall_clock(), UTC).isoformat(timespec="milliseconds")
        self._digest = digest(self._gateway.config)

    def describe(self) -> Mapping[str, object]:
        """Return ``source``, ``loaded_at`` (RFC 3339) and ``digest`` (:func:`gateway.config.digest`) of what runs."""
        return {"source": self._gateway.config.source, "loaded_at": self._loaded_at, "digest": self._digest}

    def validate(self, text: str) -> list[Mapping[str, object]]:
        """Return why a text would not be taken as the configuration of this running gateway; nothing: it would be."""
        try:
            config = self._source.parse(text)
            refuse_fixed(changes(self._gateway.config, config), config.source)
        except ConfigError as error:
            return _told(error.mistakes)
        return []

    async def reload(self) -> Mapping[str, object]:
        """Read the file again and take it; return ``changed``, the keys that differ and how.

        Raises:
            ConfigRefused: nothing has changed; the log says why.
        """
        async with self._one_at_a_time:
            try:
                # on a thread: parsing takes longer than any chunk of a stream should wait
                config = await asyncio.to_thread(self._source.read)
                changed = self._gateway.reload(config)
            except ConfigError as error:
                self._results.labels("refused").inc()
                for mistake in error.mistakes:
                    log.error("the configuration is not taken: %s", mistake)  # noqa: TRY400 (not our failure)
                raise ConfigRefused(_told(error.mistakes)) from None
            self._source.on_applied(config)
            self._note_loaded()
            self._results.labels("applied").inc()
            log.info("the configuration was read again: %s", ", ".join(changed) or "it is as it was")
            return {"changed": changed}

    async def again(self) -> None:
        """The same on a signal, where nobody waits for an answer: the log tells how it went."""
        try:
            await self.reload()
        except ConfigRefused:
            log.error("the gateway goes on with the configuration that it has")  # noqa: TRY400 (not our failure)
        except Exception:
            log.exception("the configuration could not be read again")


def _told(mistakes: Sequence[Mistake]) -> list[Mapping[str, object]]:
    """Mistakes as answers show them: no secret in any of them."""
    return [
        {
            "key": masked(mistake.key),
            "message": masked(mistake.message) + (f"; found {mistake.found}" if mistake.found else ""),
            "line": mistake.line,
            "hint": masked(mistake.hint) if mistake.hint else None,
        }
        for mistake in mistakes
    ]
