"""How long a provider may take: set for the provider, overridden for a model."""

from pydantic import Field, field_validator

from gateway.core.quantity import Seconds
from gateway.core.settings import Settings


class Timeouts(Settings):
    """Deadlines of one upstream exchange, in seconds; first_token_s and stall_s concern streams only."""

    first_token_s: Seconds = 60.0
    """From sending the request to the first content of a stream."""
    stall_s: Seconds = 60.0
    """Longest silence within a stream once it has begun."""
    unary_s: Seconds = 600.0
    """For a whole answer that is not streamed."""
    total_s: Seconds | None = None
    """For a whole stream; null is no limit."""


class TimeoutOverrides(Settings):
    """What one model changes of its provider's timeouts; a key that is left out keeps the provider's."""

    first_token_s: Seconds | None = Field(default=None, validate_default=False)
    """From sending the request to the first content of a stream."""
    stall_s: Seconds | None = Field(default=None, validate_default=False)
    """Longest silence within a stream once it has begun."""
    unary_s: Seconds | None = Field(default=None, validate_default=False)
    """For a whole answer that is not streamed."""
    total_s: Seconds | None = None
    """For a whole stream; null lifts the provider's limit."""

    @field_validator("first_token_s", "stall_s", "unary_s")
    @classmethod
    def _only_total_may_be_lifted(cls, value: float | None) -> float | None:
        if value is None:
            raise ValueError("cannot be null: leave it out to keep the provider's")
        return value


def merged(base: Timeouts, override: TimeoutOverrides | None) -> Timeouts:
    """Return the provider's timeouts with what the model changes."""
    if override is None or not override.model_fields_set:
        return base
    return base.model_copy(update={name: getattr(override, name) for name in override.model_fields_set})
