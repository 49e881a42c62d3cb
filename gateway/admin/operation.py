"""One thing that the admin API does: everything that serving, checking and documenting it takes, in one place."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import unquote

from aiohttp import web
from pydantic import BaseModel

from gateway.admin.access import Caller, Role
from gateway.core.settings import Settings

Q = TypeVar("Q", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)

Method = Literal["GET", "POST", "PUT", "DELETE"]


class Nothing(Settings):
    """A query without parameters, or a body without fields."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """One request for an operation, checked.

    Attributes:
        path: the variable parts of the path, decoded.
        headers: of the answer; more may be added.
    """

    caller: Caller
    path: Mapping[str, str]
    query: Q
    body: B
    request: web.BaseRequest
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Operation(Generic[Q, B]):
    """One method of one path.

    Attributes:
        name: the OpenAPI operation id.
        path: with its variable parts in braces.
        role: who may.
        work: does it. What it returns is the answer; None has no body.
        query, body: what is taken; unknown names are refused.
        answer: the model of its JSON, the media types of what it streams, or None for no body.
        fails: codes that this operation may fail with, beside those that any may.
        named_by: the variable part of the path that stands for the body's ``id``.
        yaml_field: the field of the body that may come alone, as YAML.
    """

    name: str
    method: Method
    path: str
    summary: str
    role: Role
    work: Callable[[Call[Q, B]], Awaitable[BaseModel | web.StreamResponse | None]]
    query: type[Q]
    body: type[B]
    answer: type[BaseModel] | tuple[str, ...] | None
    status: int = 200
    fails: tuple[str, ...] = ()
    named_by: str | None = None
    yaml_field: str | None = None

    @property
    def takes_body(self) -> bool:
        """Whether a body means anything: to GET and DELETE it does not (RFC 9110, sections 9.3.1 and 9.3.5)."""
        return self.method in ("POST", "PUT")

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the path's variable parts."""
        return tuple(part[1:-1] for part in self.path.split("/") if _is_variable(part))


class Table:
    """All operations; finds those of a path."""

    def __init__(self, operations: Iterable[Operation[Any, Any]]) -> None:
        self.operations = tuple(operations)
        self._paths: dict[tuple[str, ...], dict[str, Operation[Any, Any]]] = {}
        for operation in self.operations:
            methods = self._paths.setdefault(tuple(operation.path.split("/")), {})
            if operation.method in methods:
                raise ValueError(f"{operation.method} {operation.path} is there twice")
            methods[operation.method] = operation

    def find(self, raw_path: str) -> tuple[Mapping[str, Operation[Any, Any]], Mapping[str, str]] | None:
        """Return the operations of a path by method, and its variable parts; None for no such path.

        Args:
            raw_path: as it was sent: an encoded slash is part of a name and not between two.
        """
        try:
            parts = [unquote(part, errors="strict") for part in raw_path.split("/")]
        except UnicodeDecodeError:
            return None
        for template, methods in self._paths.items():
            if len(template) == len(parts) and all(map(_fits, template, parts)):
                found = {t[1:-1]: part for t, part in zip(template, parts, strict=True) if _is_variable(t)}
                return methods, found
        return None


def _is_variable(part: str) -> bool:
    return part.startswith("{")


def _fits(template: str, part: str) -> bool:
    return bool(part) if _is_variable(template) else template == part
