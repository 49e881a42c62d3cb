"""Settings of the listening side: the address, the deadlines of clients, and operations."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from gateway.core.quantity import NotSwitch, Seconds
from gateway.core.settings import Settings

GRACE_S = 5.0
"""Where nothing is written: how long a load balancer may take to see that this process leaves."""

Pause = Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False), NotSwitch]
"""A time of at most a day that may be nothing."""

_TOKEN = re.compile(r"[\x21-\x7e]+")


def _check_token(token: SecretStr | None) -> SecretStr | None:
    if token is None or not token.get_secret_value():
        return None
    if _TOKEN.fullmatch(token.get_secret_value()) is None:
        raise ValueError("must be printable ASCII without spaces")
    return token


class ServerSettings(Settings):
    """The address that clients reach and what they may take of us; all times in seconds."""

    host: Annotated[str, Field(min_length=1, max_length=253)] = "0.0.0.0"  # noqa: S104 (a server)
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535), NotSwitch] = 8080
    """Port to listen on; 0 takes any free one."""
    deadline_s: Seconds = 120.0
    """For all attempts of a stream together, up to its first content."""
    keepalive_s: Seconds = 15.0
    """Silence after which a stream's client gets a keep-alive comment."""
    max_body_mb: Annotated[int, Field(ge=1, le=1024), NotSwitch] = 32
    """Largest request body, in MiB; refused by its declared length."""
    head_timeout_s: Seconds = 10.0
    """For a request head to arrive whole."""
    body_timeout_s: Seconds = 30.0
    """For a request body to arrive whole."""
    write_timeout_s: Seconds = 60.0
    """A client that takes nothing for so long is cut."""
    idle_timeout_s: Seconds = 75.0
    """How long a connection may wait for its next request."""
    max_in_flight: Annotated[int, Field(ge=1, le=1_000_000), NotSwitch] = 20_000
    """Requests worked on at once; further ones wait in a queue."""
    max_queued: Annotated[int, Field(ge=0, le=1_000_000), NotSwitch] = 1000
    """Requests in that queue at most; one more is refused at once, as overloaded."""
    queue_s: Seconds = 1.0
    """How long each of them waits at most."""
    drain_s: Pause = 60.0
    """From the signal to stop until what still runs is ended; 0 ends it at once."""
    ready_grace_s: Pause = Field(default_factory=lambda before: min(GRACE_S, before["drain_s"]))
    """The first part of drain_s, in which requests are still served; left out: 5, or drain_s where that is less."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe message that is logged."""
    access_log: bool = True
    """One JSON line per request, without prompt or key."""

    @field_validator("ready_grace_s")
    @classmethod
    def _within_drain(cls, value: float, info: ValidationInfo) -> float:
        drain_s = info.data.get("drain_s", value)
        if value > drain_s:
            raise ValueError(f"must be at most drain_s, {drain_s:g}, which begins at the same moment")
        return value

    @property
    def max_body_bytes(self) -> int:
        """The body limit in bytes."""
        return self.max_body_mb * 1024 * 1024


class OpsSettings(Settings):
    """Operations: health and metrics."""

    metrics_token: Annotated[SecretStr | None, AfterValidator(_check_token)] = None
    """Bearer token that /metrics asks for; null or empty leaves it open."""
