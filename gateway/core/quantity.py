"""Numbers as the configuration may write them: finite, bounded, and never a YAML switch."""

from typing import Annotated

from pydantic import BeforeValidator, Field


def _no_switch(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004 (pydantic collects ValueError only)
    return value


NotSwitch = BeforeValidator(_no_switch)
"""Refuses ``true`` and ``false``, which pydantic would take for 1 and 0."""

Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False), NotSwitch]
"""A positive time of at most a day."""
