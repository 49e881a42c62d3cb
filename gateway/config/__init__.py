"""``gateway.yaml`` and the environment become one immutable :class:`Config`, or every mistake at once."""

from gateway.config.assembly import Config, assemble, json_schema, load, shipped_prices
from gateway.config.builtin import DEMO_KEY, demo
from gateway.config.changes import Change, changes, digest, refuse_fixed
from gateway.config.document import read_document
from gateway.config.mistakes import ConfigError, Mistake

__all__ = [
    "DEMO_KEY",
    "Change",
    "Config",
    "ConfigError",
    "Mistake",
    "assemble",
    "changes",
    "demo",
    "digest",
    "json_schema",
    "load",
    "read_document",
    "refuse_fixed",
    "shipped_prices",
]
