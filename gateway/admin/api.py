"""The admin API as a handler of requests: who asks, for what, is it right; then the work, then the answer."""

import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ValidationError

from gateway.admin.access import Access, Caller
from gateway.admin.operation import Call, Operation, Table
from gateway.admin.reading import JSON, read_document, read_query
from gateway.admin.refusals import AdminError, Explain, invalid
from gateway.admin.settings import AdminSettings
from gateway.core.quota import QuotasUnavailable
from gateway.proxy.relay import SERVER
from gateway.stores.sql.group import DatabaseDown
from gateway.tenancy.directory import Refused

log = logging.getLogger("gateway")

PATH = "/admin"


class Admin:
    """aiohttp's handler for everything under ``/admin``, on whichever listener.

    Args:
        explain: puts what pydantic refused into sentences.
        new_id: makes the id of a request.
    """

    def __init__(self, settings: AdminSettings, table: Table, explain: Explain, new_id: Callable[[], str]) -> None:
        self._table = table
        self._explain = explain
        self._new_id = new_id
        self.configure(settings)

    def configure(self, settings: AdminSettings) -> None:
        """Ask for other keys from now on."""
        self._access = Access(settings)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        request_id = self._new_id()
        headers = {
            "Server": SERVER,
            "x-request-id": request_id,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        name = "nothing"
        try:
            caller = self._access.identify(request)
            operation, variables = self._find(request)
            name = operation.name
            response = await self._serve(operation, caller, variables, request, headers)
            if operation.method != "GET":
                log.info("admin: %s by the %s: %d (%s)", name, caller.name, response.status, request_id)
        except Exception as error:
            refusal = self._refusal(error, name, request_id)
            if refusal is None:
                raise
            log.info("admin: %s refused: %s (%s)", name, refusal.answer.error.code, request_id)
            return _refused(refusal, headers)
        else:
            return response

    def _find(self, request: web.BaseRequest) -> tuple[Operation[Any, Any], Mapping[str, str]]:
        found = self._table.find(request.rel_url.raw_path)
        if found is None:
            raise AdminError("not_found", f"There is nothing here. GET {PATH}/openapi.json lists what there is.")
        methods, variables = found
        operation = methods.get("GET" if request.method == "HEAD" else request.method)
        if operation is None:
            allowed = ", ".join((*(["GET", "HEAD"] if "GET" in methods else []), *sorted(methods.keys() - {"GET"})))
            raise AdminError("method_not_allowed", f"This path takes {allowed} only.", headers={"Allow": allowed})
        return operation, variables

    async def _serve(
        self,
        operation: Operation[Any, Any],
        caller: Caller,
        variables: Mapping[str, str],
        request: web.BaseRequest,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        if caller.role < operation.role:
            raise AdminError("forbidden", f"The {caller.name} may only look. Use the admin key.")
        query = self._validated(operation.query, read_query(request, _parameters(operation.query)))
        document = await read_document(request, operation.yaml_field) if operation.takes_body else {}
        if operation.named_by is not None:
            _name(document, variables[operation.named_by])
        body = self._validated(operation.body, document)
        answer = await operation.work(Call(caller, variables, query, body, request, headers))
        if isinstance(answer, web.StreamResponse):
            return answer
        if answer is None:
            return web.Response(status=operation.status, headers=headers)
        return _json(answer, operation.status, headers)

    def _validated(self, model: type[BaseModel], tree: dict[str, Any]) -> BaseModel:
        try:
            return model.model_validate(tree)
        except ValidationError as error:
            raise invalid(self._explain(model, error, tree)) from None

    def _refusal(self, error: Exception, name: str, request_id: str) -> AdminError | None:
        """What an exception is answered with; None: nobody is there to be answered."""
        if isinstance(error, AdminError):
            return error
        if isinstance(error, Refused):
            return AdminError(error.code, str(error), param=_blamed(str(error)))
        if isinstance(error, DatabaseDown):
            log.warning("admin: %s failed: %s (%s)", name, error, request_id)
            message = "The database does not answer, so nothing was done. Try again."
            return AdminError("database_down", message, headers={"Retry-After": "1"})
        if isinstance(error, QuotasUnavailable):
            message = "What has been spent cannot be found out now. Try again."
            return AdminError("store_down", message, headers={"Retry-After": "1"})
        if isinstance(error, ConnectionError):
            return None
        # An exception's own words may hold values, as those of a database driver do: a digest, say.
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("admin: %s failed with %s (%s)\n%s", name, type(error).__name__, request_id, where)
        return AdminError("internal", "The gateway failed. Its log says more under the id in x-request-id.")


def _blamed(sentence: str) -> str | None:
    """The field that a sentence begins with, as those of the directory do where it is one: ``expires: is …``."""
    field, colon, _ = sentence.partition(": ")
    return field if colon and field.isidentifier() else None


def _parameters(query: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in query.model_fields.items())


def _name(document: dict[str, Any], name: str) -> None:
    """Let the path name what the body is about.

    Raises:
        AdminError: ``invalid_request``: the body names something else.
    """
    if document.setdefault("id", name) != name:
        raise AdminError("invalid_request", "id is not that of the path: it cannot be changed.", param="id")


def _json(answer: BaseModel, status: int, headers: Mapping[str, str]) -> web.Response:
    body = answer.model_dump_json(by_alias=True).encode()
    return web.Response(status=status, body=body, headers={**headers, "Content-Type": JSON})


def _refused(error: AdminError, headers: Mapping[str, str]) -> web.Response:
    response = _json(error.answer, error.kind.status, {**headers, **error.headers})
    if error.headers.get("Connection") == "close":
        response.force_close()
    return response
