"""A strict reader of the Prometheus text format 0.0.4, written from its specification."""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache

Series = tuple[str, frozenset[tuple[str, str]]]

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_UNESCAPED = {"\\": "\\", "n": "\n", '"': '"'}


@dataclass(slots=True)
class Exposition:
    """What a scrape said."""

    samples: dict[Series, Decimal] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    helps: dict[str, str] = field(default_factory=dict)

    def value(self, name: str, **labels: str) -> Decimal:
        """The sample of exactly these labels."""
        return self.samples[name, frozenset(labels.items())]

    def series(self, name: str) -> list[dict[str, str]]:
        """The label sets under one sample name."""
        return [dict(labels) for sample, labels in self.samples if sample == name]


def read_exposition(body: bytes) -> Exposition:
    """Parse a whole body; anything the format does not allow is an AssertionError or a ValueError."""
    text = body.decode("utf-8")
    assert text.endswith("\n"), "the last line must end with a line feed"
    result = Exposition()
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, _, help_text = line[7:].partition(" ")
            assert name not in result.helps, f"second HELP of {name}"
            result.helps[name] = _unescape(help_text, quotes=False)
        elif line.startswith("# TYPE "):
            name, _, kind = line[7:].partition(" ")
            assert name not in result.types, f"second TYPE of {name}"
            assert kind in {"counter", "gauge", "histogram"}, line
            result.types[name] = kind
        else:
            series, value = _read_sample(line)
            assert series not in result.samples, f"printed twice: {series}"
            result.samples[series] = value
    return result


def _read_sample(line: str) -> tuple[Series, Decimal]:
    series, blank, value = line.rpartition(" ")
    assert blank, f"no blank before the value: {line!r}"
    return _read_series(series), Decimal(value)


@lru_cache(maxsize=65_536)
def _read_series(text: str) -> Series:
    """Scrapes repeat their series, and stories scrape often: each is read once."""
    match = _NAME.match(text)
    assert match, f"no metric name: {text!r}"
    at = match.end()
    labels: dict[str, str] = {}
    if text[at:]:
        assert text[at] == "{", f"no labels after the name: {text!r}"
        at += 1
        while text[at] != "}":
            label = _LABEL.match(text, at)
            assert label, f"no label name at {at}: {text!r}"
            at = label.end()
            assert text[at : at + 2] == '="', text
            end = start = at + 2
            while text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            assert label.group() not in labels, f"label twice: {text!r}"
            labels[label.group()] = _unescape(text[start:end], quotes=True)
            at = end + 1
            if text[at] == ",":
                at += 1
        at += 1
    assert at == len(text), f"more than a series before the value: {text!r}"
    return match.group(), frozenset(labels.items())


def _unescape(text: str, *, quotes: bool) -> str:
    def one(match: re.Match[str]) -> str:
        assert match.group(1) != '"' or quotes, "a quote is not escaped in HELP"
        return _UNESCAPED[match.group(1)]

    return re.sub(r"\\(.)", one, text, flags=re.DOTALL)
