"""Everything the admin API refuses or fails with: one exception, one table from code to status, one body."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Protocol

from pydantic import Field, ValidationError

from gateway.core.settings import Settings

MOST_MISTAKES: Final = 50
MOST_CHARACTERS: Final = 1000
"""Of a sentence: it may quote a name, and a name may be as long as a body."""

ErrorType = Literal["invalid_request_error", "authentication_error", "permission_error", "server_error"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a code means on the wire; the types are OpenAI's ``error.type``, as everywhere in the gateway."""

    status: int
    type: ErrorType
    meaning: str


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "invalid_request": Kind(400, "invalid_request_error", "The request says something that cannot be done."),
        "unauthorized": Kind(401, "authentication_error", "No key, a wrong one, or more than one credential."),
        "admin_closed": Kind(403, "permission_error", "No key is configured, so nobody may do anything."),
        "forbidden": Kind(403, "permission_error", "The viewer key may only look."),
        "not_found": Kind(404, "invalid_request_error", "There is no such thing."),
        "method_not_allowed": Kind(405, "invalid_request_error", "The path takes other methods: see Allow."),
        "request_timeout": Kind(408, "invalid_request_error", "The body did not arrive in time."),
        "conflict": Kind(409, "invalid_request_error", "It is there already, or it belongs to gateway.yaml."),
        "config_refused": Kind(409, "invalid_request_error", "The file has mistakes; what runs goes on as it was."),
        "request_too_large": Kind(413, "invalid_request_error", "The body is larger than 1 MiB."),
        "unsupported_media_type": Kind(415, "invalid_request_error", "The body is of a kind that is not read here."),
        "expectation_failed": Kind(417, "invalid_request_error", "Expect can only be 100-continue."),
        "internal": Kind(500, "server_error", "The gateway failed; its log says more under the request's id."),
        "database_down": Kind(503, "server_error", "The database does not answer; nothing was changed."),
        "store_down": Kind(503, "server_error", "What has been spent cannot be found out now."),
    }
)
"""What can go wrong, by ``error.code``."""


class MistakeAnswer(Settings):
    """One thing to change."""

    key: str
    """Where it stands, dotted; empty for the whole."""
    message: str
    """What is wrong and what to write."""
    line: int | None = None
    """Its line, counted from 1, where it stands in a file."""
    hint: str | None = None
    """What else is worth knowing."""


class ErrorBody(Settings):
    """What went wrong."""

    type: ErrorType
    """Kind of error, in OpenAI's words."""
    code: Annotated[str, Field(json_schema_extra={"enum": list(KINDS)})]
    """What it was, for programs."""
    message: str
    """What it was, and what to do, for people."""
    param: str | None
    """The field or parameter that is wrong, where there is one."""


class ErrorAnswer(Settings):
    """Any answer of 400 or above."""

    error: ErrorBody
    """What went wrong."""
    mistakes: tuple[MistakeAnswer, ...] = ()
    """Each single one, where a body or a file has them."""


class Complaint(Protocol):
    """One mistake, as whoever explains them has it: its sentence is its text."""

    @property
    def key(self) -> str:
        """The dotted key that is blamed."""

    def __str__(self) -> str: ...


class Explain(Protocol):
    """Puts what pydantic refused into sentences that name the key and say what to write."""

    def __call__(
        self, model: type[Any], error: ValidationError, tree: Mapping[str, object], /
    ) -> Sequence[Complaint]: ...


class AdminError(Exception):
    """A refusal or a failure that has a clear answer.

    Args:
        code: a key of :data:`KINDS`; anything else is a programming error (``KeyError``).
        message: one or two sentences: what is wrong and what to do.
        param: the field or parameter that is wrong, where there is one.
        mistakes: each single one, where there are several.
        headers: further response headers (``Allow``, say).
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        mistakes: Sequence[MistakeAnswer] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.kind = KINDS[code]
        self.headers = headers or {}
        body = ErrorBody(type=self.kind.type, code=code, message=_bounded(message), param=param and _bounded(param))
        self.answer = ErrorAnswer(error=body, mistakes=tuple(mistakes[:MOST_MISTAKES]))


def invalid(complaints: Sequence[Complaint]) -> AdminError:
    """Return the refusal of a body or a query with mistakes: the first in the message, all in the list."""
    first = complaints[0]
    others = len(complaints) - 1
    more = f" There {'is 1 more mistake' if others == 1 else f'are {others} more mistakes'}." if others else ""
    mistakes = [MistakeAnswer(key=_bounded(one.key), message=_bounded(str(one))) for one in complaints]
    message = _bounded(str(first)) + more
    return AdminError("invalid_request", message, param=first.key or None, mistakes=mistakes)


def _bounded(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"
