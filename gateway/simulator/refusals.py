"""The error bodies of the providers, in both dialects.

Shapes: OpenAI, https://platform.openai.com/docs/guides/error-codes; Anthropic, https://docs.anthropic.com/en/api/errors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Wording:
    """One failure as each provider words it. ``{model}`` is replaced by the model asked for."""

    status: int
    openai_type: str
    openai_code: str | None
    openai: str
    anthropic_type: str
    anthropic: str
    retry_after_s: int | None = None
    param: str | None = None


REFUSALS: Mapping[str, Wording] = MappingProxyType(
    {
        "400": Wording(
            400,
            "invalid_request_error",
            "invalid_value",
            "Invalid value for 'temperature': this model supports the default value only.",
            "invalid_request_error",
            "temperature: this model supports the default value only",
            param="temperature",
        ),
        "401": Wording(
            401,
            "invalid_request_error",
            "invalid_api_key",
            "Incorrect API key provided.",
            "authentication_error",
            "invalid x-api-key",
        ),
        "404": Wording(
            404,
            "invalid_request_error",
            "model_not_found",
            "The model `{model}` does not exist or you do not have access to it.",
            "not_found_error",
            "model: {model}",
            param="model",
        ),
        "429": Wording(
            429,
            "requests",
            "rate_limit_exceeded",
            "Rate limit reached for {model} on requests per min (RPM): Limit 500, Used 500, Requested 1. "
            "Please try again in 1s.",
            "rate_limit_error",
            "This request would exceed your organization's rate limit of 500 requests per minute.",
            retry_after_s=1,
        ),
        "429-quota": Wording(
            429,
            "insufficient_quota",
            "insufficient_quota",
            "You exceeded your current quota, please check your plan and billing details.",
            "rate_limit_error",
            "This request would exceed your organization's monthly spend limit.",
        ),
        "500": Wording(
            500,
            "server_error",
            None,
            "The server had an error while processing your request. Sorry about that!",
            "api_error",
            "Internal server error",
        ),
        "503": Wording(
            503,
            "service_unavailable_error",
            None,
            "The server is overloaded or not ready yet.",
            "api_error",
            "Service temporarily unavailable",
            retry_after_s=1,
        ),
        "529": Wording(
            529,
            "overloaded_error",
            "overloaded",
            "The engine is currently overloaded, please try again later.",
            "overloaded_error",
            "Overloaded",
        ),
    }
)


class Refused(Exception):
    """The simulator answers with an error.

    Args:
        wording: what to say, in either dialect.
        model: the model asked for, as the request names it.
    """

    def __init__(self, wording: Wording, model: str = "") -> None:
        super().__init__(f"{wording.status}: {wording.openai_type}")
        self.wording = wording
        self.model = model

    @property
    def status(self) -> int:
        return self.wording.status

    def headers(self, *, anthropic: bool) -> dict[str, str]:
        """Returns ``Retry-After`` and, for a 429, the rate-limit headers of the dialect."""
        headers: dict[str, str] = {}
        if self.wording.retry_after_s is not None:
            headers["Retry-After"] = str(self.wording.retry_after_s)
            if self.status == 429:
                prefix = "anthropic-ratelimit-requests-remaining" if anthropic else "x-ratelimit-remaining-requests"
                headers[prefix] = "0"
        return headers

    def document(self, *, anthropic: bool, request_id: str) -> dict[str, Any]:
        """Returns the body of the answer; the error events of chat and Messages streams carry it too."""
        said = self.wording
        if anthropic:
            message = said.anthropic.replace("{model}", self.model)
            return {
                "type": "error",
                "error": {"type": said.anthropic_type, "message": message},
                "request_id": request_id,
            }
        message = said.openai.replace("{model}", self.model)
        return {
            "error": {
                "message": message,
                "type": said.openai_type,
                "param": said.param,
                "code": said.openai_code,
            }
        }

    def body(self, *, anthropic: bool, request_id: str) -> bytes:
        return orjson.dumps(self.document(anthropic=anthropic, request_id=request_id))


def invalid(message: str, param: str | None = None, *, status: int = 400, code: str | None = None) -> Refused:
    """Returns the refusal of a request that is wrong itself; Anthropic's wording names the field first."""
    anthropic = f"{param}: {message}" if param else message
    kind = {404: "not_found_error", 413: "request_too_large"}.get(status, "invalid_request_error")
    return Refused(Wording(status, "invalid_request_error", code, message, kind, anthropic, param=param))


def unknown_model(model: str) -> Refused:
    return Refused(REFUSALS["404"], model)
