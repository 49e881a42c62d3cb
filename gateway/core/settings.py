"""The base of every settings class: immutable, and strict about names it does not know."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """One section of ``gateway.yaml``; settings live beside the component that they set."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)
