"""Everything a model reads of a request, whichever dialect nests it."""

import orjson

from gateway.simulator.refusals import invalid

_MAX_NESTING = 4
"""Lists of parts inside parts; the deepest that a dialect documents is a tool's result, one level."""
_TEXTLESS = frozenset({"text", "input_text", "output_text", "thinking", "redacted_thinking"})
"""Parts that are no picture even where they have no text."""


class Prompt:
    """Collects texts, and counts messages and binary parts, while a request is walked.

    ``ends_with_result``: the last message brings the result of a tool.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.messages = 0
        self.images = 0
        self.ends_with_result = False

    def read(self, content: object, param: str, depth: int = 0) -> None:
        """Takes in a content: a string, or a list of parts as any of the dialects nests them."""
        if content is None:
            return
        if isinstance(content, str):
            self.texts.append(content)
            return
        if not isinstance(content, list) or depth > _MAX_NESTING:
            raise invalid("expected a string or a list of content parts", param)
        for part in content:
            self._read_part(part, param, depth)

    def _read_part(self, part: object, param: str, depth: int) -> None:
        if not isinstance(part, dict):
            raise invalid("expected a content part with a type", param)
        kind = part.get("type")
        if isinstance(text := part.get("text") or part.get("thinking"), str):
            self.texts.append(text)
        elif kind == "tool_result":
            self.ends_with_result = True
            self.read(part.get("content"), param, depth + 1)
        elif kind == "tool_use":
            self.texts.append(_json(part.get("input")))
        elif not isinstance(kind, str) or kind not in _TEXTLESS:
            self.images += 1

    def read_message(self, message: object, param: str) -> None:
        """Takes in one message or, of the Responses route, one input item."""
        if not isinstance(message, dict):
            raise invalid("expected a list of messages", param)
        self.messages += 1
        kind = message.get("type")
        self.ends_with_result = message.get("role") == "tool" or kind == "function_call_output"
        if kind == "function_call_output":
            self.read(message.get("output"), param)
        elif kind == "function_call":
            self.texts.append(str(message.get("arguments", "")))
        elif kind != "reasoning":
            self.read(message.get("content"), param)
        if calls := message.get("tool_calls"):
            self.texts.append(_json(calls))


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
