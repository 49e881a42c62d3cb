"""The configuration: what runs, whether another one would be taken, and taking it."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from gateway.admin.access import Role
from gateway.admin.audit import Journal
from gateway.admin.operation import Call, Nothing, Operation
from gateway.admin.refusals import AdminError, MistakeAnswer
from gateway.core.settings import Settings
from gateway.stores.sql.group import DatabaseDown

log = logging.getLogger("gateway")


class ConfigRefused(Exception):
    """A configuration that is not taken; what runs goes on as it was.

    Args:
        mistakes: each with ``key`` and ``message``, and ``line`` and ``hint`` where there are any; shows no secret.
    """

    def __init__(self, mistakes: Sequence[Mapping[str, object]]) -> None:
        super().__init__(f"the configuration has {len(mistakes)} mistakes")
        self.mistakes = tuple(mistakes)


class Configuration(Protocol):
    """Knows the running configuration and takes another one."""

    def describe(self) -> Mapping[str, object]:
        """Return ``source``, ``loaded_at`` (RFC 3339) and ``digest`` (of the effective settings without secrets)."""

    def validate(self, text: str) -> Sequence[Mapping[str, object]]:
        """Return the mistakes of a configuration, as :class:`ConfigRefused` has them; none: it would be taken.

        Called on a thread.
        """

    async def reload(self) -> Mapping[str, object]:
        """Read the file again and take it; return ``changed``: in words, the keys that differ from what ran before.

        Raises:
            ConfigRefused: nothing has changed.
        """


class ConfigAnswer(BaseModel):
    """The running configuration; never a secret."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    source: str
    """The file, or what stands for it."""
    loaded_at: str
    """When this process read it (RFC 3339)."""
    digest: str
    """Of the effective settings without secrets: equal where two processes run the same."""


class ConfigText(Settings):
    """A configuration to be looked at, not taken."""

    yaml: Annotated[str, Field(max_length=1024 * 1024)]
    """The whole text, as it would stand in gateway.yaml; variables are those of the gateway's environment."""


class ValidationAnswer(Settings):
    """Whether a configuration would be taken."""

    valid: bool
    """Whether it has no mistakes."""
    mistakes: tuple[MistakeAnswer, ...]
    """All of them, in the order of the file."""


class ReloadAnswer(Settings):
    """What a reload has changed."""

    changed: tuple[str, ...]
    """What differs from what ran before, by its dotted keys; none where the file is as it was."""
    config: ConfigAnswer
    """What runs now."""


class ConfigPages:
    """Shows, checks and reloads the configuration."""

    def __init__(self, configuration: Configuration, journal: Journal) -> None:
        self._configuration = configuration
        self._journal = journal
        self._validating = asyncio.Lock()

    @property
    def operations(self) -> tuple[Operation[Any, Any], ...]:
        return (
            Operation(
                "get_config",
                "GET",
                "/admin/config",
                "What configuration runs, in this process",
                Role.VIEWER,
                self.get,
                Nothing,
                Nothing,
                ConfigAnswer,
            ),
            Operation(
                "validate_config",
                "POST",
                "/admin/config/validate",
                "Whether a configuration would be taken; it changes nothing",
                # It reads the environment and looks at files, which is more than to look.
                Role.ADMIN,
                self.validate,
                Nothing,
                ConfigText,
                ValidationAnswer,
                yaml_field="yaml",
            ),
            Operation(
                "reload_config",
                "POST",
                "/admin/config/reload",
                "Read the file again and take it, in this process; SIGHUP does the same",
                Role.ADMIN,
                self.reload,
                Nothing,
                Nothing,
                ReloadAnswer,
                fails=("config_refused",),
            ),
        )

    async def get(self, call: Call[Nothing, Nothing]) -> ConfigAnswer:
        """Tell what runs."""
        return ConfigAnswer.model_validate(self._configuration.describe())

    async def validate(self, call: Call[Nothing, ConfigText]) -> ValidationAnswer:
        """Find every mistake."""
        # On a thread, since a large file takes longer than any stream should wait; and no more than one.
        async with self._validating:
            mistakes = _told(await asyncio.to_thread(self._configuration.validate, call.body.yaml))
        return ValidationAnswer(valid=not mistakes, mistakes=mistakes)

    async def reload(self, call: Call[Nothing, Nothing]) -> ReloadAnswer:
        """Take the file as it is now."""
        before = ConfigAnswer.model_validate(self._configuration.describe())
        # First the note: what cannot be written down is not done.
        await self._journal.note(call.caller.name, "config.reload", "config", {"digest": before.digest})
        try:
            told = await self._configuration.reload()
        except ConfigRefused as error:
            mistakes = _told(error.mistakes)
            await self._note_end(call, "config.refused", {"mistakes": len(mistakes)})
            first = f"{mistakes[0].key or 'the file'}: {mistakes[0].message}" if mistakes else ""
            message = f"The configuration is not taken, and nothing has changed. {first}".strip()
            raise AdminError("config_refused", message, mistakes=mistakes) from None
        after = ConfigAnswer.model_validate(self._configuration.describe())
        changed = told.get("changed")
        words = tuple(map(str, changed)) if isinstance(changed, list | tuple) else ()
        await self._note_end(call, "config.reloaded", {"digest": after.digest, "changed": list(words)})
        return ReloadAnswer(changed=words, config=after)

    async def _note_end(self, call: Call[Nothing, Nothing], action: str, details: Mapping[str, object]) -> None:
        try:
            await self._journal.note(call.caller.name, action, "config", details)
        except DatabaseDown:
            # That it was asked for stands there already.
            log.warning("admin: the audit has no entry for %s", action)


def _told(mistakes: Sequence[Mapping[str, object]]) -> tuple[MistakeAnswer, ...]:
    names = MistakeAnswer.model_fields
    return tuple(
        MistakeAnswer.model_validate({name: one[name] for name in names if one.get(name) is not None})
        for one in mistakes
    )
