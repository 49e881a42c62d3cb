"""``gateway.yaml`` and the environment become one immutable :class:`Config`, or every mistake at once."""

from gateway.config.assembly import Config, assemble, json_schema, load, shipped_prices
from gateway.config.builtin import DEMO_KEY, demo
from gateway.config.mistakes import ConfigError, Mistake

__all__ = [
    "DEMO_KEY",
    "Config",
    "ConfigError",
    "Mistake",
    "assemble",
    "demo",
    "json_schema",
    "load",
    "shipped_prices",
]
