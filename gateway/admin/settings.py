"""Settings of the admin API: who may use it, and where it is served."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from gateway.core.quantity import NotSwitch
from gateway.core.settings import Settings

LEAST_KEY_CHARACTERS: Final = 16
"""At 64 possible characters 96 bits: nobody guesses that over a network."""

_KEY = re.compile(r"[\x21-\x7e]{16,512}")


def _check_key(key: SecretStr | None) -> SecretStr | None:
    if key is None or not key.get_secret_value():
        return None
    if _KEY.fullmatch(key.get_secret_value()) is None:
        raise ValueError("must be 16 to 512 printable ASCII characters without spaces: aigateway keygen makes one")
    return key


AdminKey = Annotated[SecretStr | None, AfterValidator(_check_key)]
"""A key of the admin API; empty, as an environment variable that is not set leaves it, is none."""


class AdminSettings(Settings):
    """The admin API: without a key it answers 403."""

    key: AdminKey = None
    """Reads and changes everything; null or empty: nobody may change anything over HTTP."""
    viewer_key: AdminKey = None
    """Reads only; null or empty: there is none."""
    port: Annotated[int | None, Field(ge=0, le=65535), NotSwitch] = None
    """Port of its own for /admin, which the main one then does not know; 0 takes any free one; null: the main one."""

    @field_validator("viewer_key")
    @classmethod
    def _is_another(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and value == info.data.get("key"):
            raise ValueError("must differ from admin.key: who may only look must not be able to change anything")
        return value
