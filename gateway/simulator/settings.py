"""What can be set about the simulator."""

from pydantic import Field, field_validator

from gateway.core.settings import Settings
from gateway.simulator.models import behaviour_named


class SimulatorSettings(Settings):
    """Settings of the embedded provider; all of them have a default."""

    speed: float = Field(default=1.0, gt=0, le=100_000)
    """Divides every delay: 2 plays twice as fast, 0.5 at half the speed."""

    seed: int = 0
    """Everything that looks random follows from it: two simulators with one seed answer alike."""

    other_models: str | None = "chat"
    """The behaviour (`chat`, `slow`, `500`, ...) of a model whose name is not the simulator's own.

    `null`: such a model is unknown (404).
    """

    max_body_mb: int = Field(default=64, gt=0)
    """Largest request body in MiB; a larger one is a 413."""

    log_size: int = Field(default=1000, gt=0)
    """How many requests `GET /__simulator/log` remembers."""

    @field_validator("other_models")
    @classmethod
    def _is_a_behaviour(cls, name: str | None) -> str | None:
        if name is not None and behaviour_named(name) is None:
            raise ValueError(f"{name!r} is no behaviour; write a model's name without `sim-`, say 'chat'")
        return name
