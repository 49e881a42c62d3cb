"""OpenAI's Embeddings: one unit vector for each input, decided by its text.

Shape: https://platform.openai.com/docs/api-reference/embeddings.
"""

import base64
import math
import sys
from array import array
from typing import Any

import orjson

from gateway.simulator.asked import Json, model_of
from gateway.simulator.prose import prompt_tokens, source
from gateway.simulator.refusals import invalid

_DIMENSIONS = 1536
"""Of ``text-embedding-3-small``, the provider's default."""
_MAX_DIMENSIONS = 3072
_MAX_INPUTS = 2048


def embeddings(body: Json, seed: int) -> tuple[bytes, int]:
    """Answers a body of ``POST /v1/embeddings``.

    Returns:
        the document, and the prompt tokens it reports. With one seed and model, equal texts have equal
        vectors.
    """
    model = model_of(body)
    dimensions = body.get("dimensions", _DIMENSIONS)
    if type(dimensions) is not int or not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise invalid(f"Invalid 'dimensions': expected 1 to {_MAX_DIMENSIONS}.", "dimensions")
    encoding = body.get("encoding_format") or "float"
    if encoding not in {"float", "base64"}:
        raise invalid("Invalid 'encoding_format': expected 'float' or 'base64'.", "encoding_format")
    inputs = _inputs(body.get("input"))
    data: list[dict[str, Any]] = []
    for index, given in enumerate(inputs):
        vector = _vector(f"{seed}\0{model}\0{given}", dimensions)
        shown = _base64(vector) if encoding == "base64" else vector.tolist()
        data.append({"object": "embedding", "index": index, "embedding": shown})
    tokens = sum(_tokens(given) for given in inputs)
    document = {
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return orjson.dumps(document), tokens


def _inputs(given: object) -> list[str | list[int]]:
    one_list_of_tokens = isinstance(given, list) and given and all(isinstance(token, int) for token in given)
    if isinstance(given, str) or one_list_of_tokens:
        given = [given]
    if not isinstance(given, list) or not 0 < len(given) <= _MAX_INPUTS:
        raise invalid(f"Invalid 'input': expected text, tokens, or 1 to {_MAX_INPUTS} of them.", "input")
    if not all(_is_input(one) for one in given):
        raise invalid("Invalid 'input': each has to be a text that is not empty, or tokens.", "input")
    return given


def _is_input(one: object) -> bool:
    if isinstance(one, list):
        return bool(one) and all(isinstance(token, int) for token in one)
    return isinstance(one, str) and one != ""


def _tokens(given: str | list[int]) -> int:
    """Tokens of one input: text by the rule of every prompt, a list of tokens by its length."""
    return prompt_tokens(len(given.encode()), 0, 0) if isinstance(given, str) else len(given)


def _vector(name: str, dimensions: int) -> "array[float]":
    rng = source(name)
    raw = [rng.random() - 0.5 for _ in range(dimensions)]
    length = math.sqrt(sum(x * x for x in raw)) or 1.0
    return array("f", (x / length for x in raw))


def _base64(vector: "array[float]") -> str:
    """Little-endian 32-bit floats, as the provider encodes them."""
    if sys.byteorder == "big":
        vector.byteswap()
    return base64.b64encode(vector.tobytes()).decode()
