"""The providers as they stand, and what an operator may order: drain one, ask it again, forget its failures."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from gateway.admin.access import Role
from gateway.admin.audit import Journal
from gateway.admin.operation import Call, Nothing, Operation
from gateway.admin.refusals import AdminError
from gateway.core.settings import Settings


class Providers(Protocol):
    """Tells of providers and operates them: :class:`gateway.proxy.circuits.Circuits`. Unknown names: ``KeyError``."""

    def page(self) -> Mapping[str, Mapping[str, object]]:
        """Return every circuit by provider and by its name."""

    def drain(self, name: str) -> None:
        """Begin no further attempt there."""

    def undrain(self, name: str) -> None:
        """Begin attempts there again."""

    def reset(self, name: str) -> None:
        """Close its circuits and end its rests."""


class CircuitAnswer(BaseModel):
    """One circuit: of one model, or of all that a pattern covers."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    circuit: Literal["closed", "half_open", "open"]
    """Whether requests pass: open ones do not."""
    successes: int
    """Attempts in its window that succeeded."""
    failures: int
    """Attempts in its window that failed."""
    reason: str | None = None
    """Why it is as it is."""
    open_for_s: float | None = None
    """Seconds since it opened."""
    next_probe_s: float | None = None
    """Seconds until it is tried again."""


class ProviderAnswer(Settings):
    """One provider."""

    drained: bool
    """Whether an operator keeps requests from it."""
    circuits: dict[str, CircuitAnswer]
    """Its circuits by the name of the model or pattern."""


class ProvidersAnswer(Settings):
    """Providers as this process sees them: each replica has circuits of its own."""

    providers: dict[str, ProviderAnswer]
    """By name."""


class ProviderPages:
    """Shows and operates providers."""

    def __init__(self, providers: Providers, journal: Journal) -> None:
        self._providers = providers
        self._journal = journal

    @property
    def operations(self) -> tuple[Operation[Any, Any], ...]:
        return (
            Operation(
                "list_providers",
                "GET",
                "/admin/providers",
                "Providers and their circuits, in this process",
                Role.VIEWER,
                self.list,
                Nothing,
                Nothing,
                ProvidersAnswer,
            ),
            self._order("drain", "Begin no further attempt at a provider; what runs there ends as it will"),
            self._order("undrain", "Let a drained provider be asked again"),
            self._order("reset", "Close all circuits of a provider, and end the rests of its keys and targets"),
        )

    def _order(self, word: Literal["drain", "undrain", "reset"], summary: str) -> Operation[Any, Any]:
        async def work(call: Call[Nothing, Nothing]) -> ProvidersAnswer:
            return await self._obey(call, word, getattr(self._providers, word))

        return Operation(
            f"{word}_provider",
            "POST",
            f"/admin/providers/{{name}}/{word}",
            f"{summary}, in this process",
            Role.ADMIN,
            work,
            Nothing,
            Nothing,
            ProvidersAnswer,
        )

    async def list(self, call: Call[Nothing, Nothing]) -> ProvidersAnswer:
        """Tell of all."""
        return ProvidersAnswer(providers={name: _told(page) for name, page in self._providers.page().items()})

    async def _obey(self, call: Call[Nothing, Nothing], word: str, order: Callable[[str], None]) -> ProvidersAnswer:
        name = call.path["name"]
        if name not in self._providers.page():
            raise _unknown()
        # First the note: what cannot be written down is not done.
        await self._journal.note(call.caller.name, f"provider.{word}", f"provider/{name}", {})
        try:
            order(name)
        except KeyError:
            raise _unknown() from None
        return ProvidersAnswer(providers={name: _told(self._providers.page()[name])})


def _unknown() -> AdminError:
    return AdminError("not_found", "No model leads to a provider of this name. GET /admin/providers lists them.")


def _told(page: Mapping[str, object]) -> ProviderAnswer:
    circuits = {name: CircuitAnswer.model_validate(circuit) for name, circuit in page.items()}
    drained = any(isinstance(one, Mapping) and one.get("drained") is True for one in page.values())
    return ProviderAnswer(drained=drained, circuits=circuits)
