"""Vectors of length one, the same for the same text."""

import base64
import math
from array import array
from typing import Any

import orjson
import pytest
from openai.types import CreateEmbeddingResponse

from gateway.simulator.embeddings import embeddings
from gateway.simulator.refusals import Refused


def embed(given: Any, **fields: Any) -> CreateEmbeddingResponse:
    document, tokens = embeddings({"model": "sim-fast", "input": given, **fields}, seed=0)
    parsed = CreateEmbeddingResponse.model_validate(orjson.loads(document))
    assert parsed.usage.prompt_tokens == parsed.usage.total_tokens == tokens
    return parsed


@pytest.mark.parametrize(
    ("given", "count", "tokens"),
    [("12345", 1, 2), (["a", "b", "c"], 3, 3), ([1, 2, 3], 1, 3), ([[1, 2], [3]], 2, 3)],
)
def test_one_vector_for_each_input(given: Any, count: int, tokens: int) -> None:
    """Text, tokens, and lists of both are inputs; usage counts them all."""
    answer = embed(given)
    assert [entry.index for entry in answer.data] == list(range(count))
    assert answer.usage.prompt_tokens == tokens
    for entry in answer.data:
        assert len(entry.embedding) == 1536
        assert math.hypot(*entry.embedding) == pytest.approx(1, abs=1e-5)


def test_the_text_decides_the_vector() -> None:
    """Equal texts, equal vectors; the dimensions are as asked."""
    first, again, other = embed(["one", "one", "two"], dimensions=8).data
    assert first.embedding == again.embedding != other.embedding
    assert len(first.embedding) == 8


def test_base64_holds_the_same_numbers() -> None:
    """The encoding that the SDK asks for by default carries the same floats."""
    plain = embed("one", dimensions=16).data[0].embedding
    document, _ = embeddings(
        {"model": "sim-fast", "input": "one", "dimensions": 16, "encoding_format": "base64"}, seed=0
    )
    packed = array("f", base64.b64decode(orjson.loads(document)["data"][0]["embedding"]))
    assert packed.tolist() == plain


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": [""]}, "input"),
        ({"input": [None]}, "input"),
        ({"input": [["a"]]}, "input"),
        ({"input": "a", "dimensions": 4000}, "dimensions"),
        ({"input": "a", "dimensions": True}, "dimensions"),
        ({"input": "a", "dimensions": "8"}, "dimensions"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": ["a"] * 2049}, "input"),
    ],
)
def test_mistakes_name_their_field(fields: dict[str, Any], param: str) -> None:
    """Each mistake is a 400 that says which field."""
    with pytest.raises(Refused) as refused:
        embeddings({"model": "sim-fast", **fields}, seed=0)
    assert refused.value.wording.param == param
