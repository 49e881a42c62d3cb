"""`GET /v1/models`: what this tenant may call, in the caller's dialect."""

import orjson
from aiohttp import web

from gateway.core.errors import GatewayError
from gateway.core.routing import ANY, ModelTable
from gateway.proxy.admission import Admission
from gateway.proxy.exchange import Exchange
from gateway.proxy.relay import head_of
from gateway.tenancy.tenants import Identity

PATH = "/v1/models"


class Catalogue:
    """Lists models. Patterns stand for names that nobody can list, so only exact names appear.

    Args:
        since: Unix seconds told as each model's creation: when this configuration was loaded.
    """

    def __init__(self, admission: Admission, models: ModelTable, since: int) -> None:
        self._admission = admission
        self._models = models
        self._since = since

    async def answer(self, exchange: Exchange) -> web.Response:
        """The list, or one model where the path names one.

        Raises:
            GatewayError: no key, or no such model for this key.
        """
        exchange.identity = identity = self._admission.authenticate(exchange.request)
        anthropic = exchange.dialect.name == "anthropic"
        asked = exchange.request.path.removeprefix(PATH).removeprefix("/")
        document = self._one(identity, asked, anthropic) if asked else self._all(identity, anthropic)
        exchange.status = 200
        return web.Response(
            body=orjson.dumps(document), headers={**head_of(exchange), "Content-Type": "application/json"}
        )

    def _all(self, identity: Identity, anthropic: bool) -> dict[str, object]:
        names = [n for n in self._models.names() if not n.endswith(ANY) and identity.tenant.may_use(n)]
        items = [self._item(name, anthropic) for name in names]
        if anthropic:
            ends = {"first_id": names[0], "last_id": names[-1]} if names else {"first_id": None, "last_id": None}
            return {"data": items, "has_more": False, **ends}
        return {"object": "list", "data": items}

    def _one(self, identity: Identity, name: str, anthropic: bool) -> dict[str, object]:
        if not identity.tenant.may_use(name) or self._models.resolve(name) is None:
            raise GatewayError("model_not_found", "There is no such model for this key.", param="model")
        return self._item(name, anthropic)

    def _item(self, name: str, anthropic: bool) -> dict[str, object]:
        route = self._models.resolve(name)
        owner = route.targets[0].provider if route is not None else ""
        if anthropic:
            return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}
        return {"id": name, "object": "model", "created": self._since, "owned_by": owner}
