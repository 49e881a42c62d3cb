"""Configurations that a running stage is told to go by."""

from dataclasses import replace
from typing import Any

from gateway.config import Config, assemble, read_document
from tests.behaviour.stage import Stage, config


def another(stage: Stage, upstreams: dict[str, str] | None = None, **options: Any) -> Config:
    """A configuration as :func:`tests.behaviour.stage.config` writes it, with the stage's own stores.

    Args:
        upstreams: base URLs by provider; by default those of the stage.
    """
    running = stage.gateway.config
    if upstreams is None:
        upstreams = {"one": stage.upstream.openai_base, "claude": stage.upstream.anthropic_base}
        if stage.second is not None:
            upstreams["two"] = stage.second.openai_base
            options.setdefault("targets", "[one/gpt, two/gpt]")
    options.setdefault("ca_file", next(iter(running.providers.values())).tls.ca_file)
    new = assemble(read_document(config(upstreams, **options), {}), "another file")
    return replace(new, stores=running.stores, ledger=running.ledger)


def only_two(stage: Stage, **options: Any) -> Config:
    """The same without the provider ``one``, on whose upstream the stage's ``claude`` stays."""
    assert stage.second is not None
    upstreams = {"two": stage.second.openai_base, "claude": stage.upstream.anthropic_base}
    return another(stage, upstreams, targets="[two/gpt]", **options)
