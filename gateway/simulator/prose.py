"""Texts that read like answers, made of shared pieces, and the simulator's idea of a token.

A token is one piece of :func:`cut`. Texts are put together from sentences that were cut once at import, so a
live stream holds references to shared strings only.
"""

import re
from hashlib import blake2b
from random import Random

_PIECE = re.compile(r" ?[^\W\d_]{1,8}|\d{1,3}| ?[^\w\s]{1,3}|_+|\s+")
_BYTES_PER_PROMPT_TOKEN = 4
TOKENS_PER_MESSAGE = 4
TOKENS_PER_IMAGE = 85
"""OpenAI's figure for a low-detail image (https://platform.openai.com/docs/guides/images-vision)."""


def cut(text: str) -> list[str]:
    """Cuts a text into pieces of the size of a model's tokens; joined, they are the text again."""
    return _PIECE.findall(text)


def prompt_tokens(text_bytes: int, messages: int, images: int) -> int:
    """Counts a prompt by a rule simple enough to do by hand, at least 1.

    One token per 4 bytes of UTF-8 (rounded up), 4 per message, 85 per image or other binary part.
    """
    pieces = -(-text_bytes // _BYTES_PER_PROMPT_TOKEN)
    return max(1, pieces + TOKENS_PER_MESSAGE * messages + TOKENS_PER_IMAGE * images)


def source(*parts: object) -> Random:
    """Returns the pseudo-random source that belongs to these parts, the same in every process."""
    digest = blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest()
    return Random(int.from_bytes(digest))  # noqa: S311 (texts to look at, not secrets)


_SENTENCES = (
    "a streaming answer arrives as a sequence of small events, and each one carries only a few characters.",
    "the first token matters most, because it tells the reader that somebody is listening.",
    "the server keeps the connection open and writes each piece the moment the model has chosen it.",
    "a proxy in the middle should forward every byte at once; buffering turns a conversation into a letter.",
    "when the reader closes the window, the generation should stop at once — unused words still cost money.",
    "back-pressure is simple: if the reader is slow, the writer waits, and nobody's memory grows.",
    "an event ends with an empty line, so a parser never has to guess where one message stops.",
    "a good client shows text as it comes, even if a word like “naïve” is split between two chunks.",
    "latency has a long tail, which is why we look at the 99th percentile and not at the average.",
    "a retry is safe until the first word has been shown; after that, honesty is better than a second try.",
    "timeouts belong to every wait: connecting, the first token, and the silence between two tokens.",
    "a stream that ends without a finish reason is not complete, however tidy it looks.",
    "the usage report at the end says how many tokens were read and how many were written.",
    "characters outside ASCII — é, ß, 漢字, or even 🚀 — take several bytes, and a chunk may end inside.",
    "the cost of a request is known only when it has ended, so a careful service reserves the money first.",
    "a comment line that starts with a colon keeps idle connections alive and is ignored by every parser.",
    "closing a connection early is normal behaviour, not an error, and the logs should say so.",
    "a circuit breaker protects both sides: the provider can recover, and callers get a quick answer.",
    "thousands of open streams need little work each, because most of the time they simply wait.",
    "a queue hides overload for a while; a limit makes it visible at once → the caller can decide.",
    "servers in São Paulo, Zürich and 東京 answer with the same bytes, only at different speeds.",
    "ordering is guaranteed by the connection itself, so events need no numbers to stay in sequence.",
    "compression saves bandwidth on documents, but on tiny events it mostly adds delay.",
    "measure before you optimise: the slow part is rarely where the café debate places it.",
)
_OPENERS = (
    "In practice, ",
    "More precisely, ",
    "At the same time, ",
    "As a rule, ",
    "By contrast, ",
    "In other words, ",
    "For that reason, ",
    "Put simply, ",
)


def _variants() -> tuple[tuple[str, ...], ...]:
    """Each sentence after a space: alone with a capital, and after each opener."""
    plain = [f" {s[0].upper()}{s[1:]}" for s in _SENTENCES]
    opened = [f" {opener}{s}" for opener in _OPENERS for s in _SENTENCES]
    return tuple(tuple(cut(s)) for s in plain + opened)


_CUT = _variants()
_PLAIN = len(_SENTENCES)
_OPENED_SHARE = 0.35


def compose(rng: Random, fewest: int, most: int) -> list[str]:
    """Composes a text of whole sentences.

    Args:
        rng: decides the sentences.
        fewest: the text ends with the first sentence that reaches a length drawn from ``fewest`` to ``most``.
        most: equal to ``fewest``, the text has exactly that many pieces.
    """
    length = rng.randint(fewest, most)
    pieces: list[str] = []
    recent: list[int] = []
    while len(pieces) < length:
        index = rng.randrange(_PLAIN)
        if index in recent:
            continue
        recent = [*recent[-7:], index]
        if pieces and rng.random() < _OPENED_SHARE:
            pieces += _CUT[_PLAIN * (1 + rng.randrange(len(_OPENERS))) + index]
        else:
            pieces += _CUT[index]
    if fewest == most and len(pieces) > length:
        pieces[length - 1 :] = ["."]
    pieces[0] = pieces[0].lstrip(" ")
    return pieces


def stop_at(pieces: list[str], stops: tuple[str, ...]) -> tuple[list[str], str | None]:
    """Cuts a text before the earliest of the stop sequences.

    Returns:
        the pieces before it, the last one shortened if need be, and the sequence that was met (or ``None``).
    """
    text = "".join(pieces)
    found = [(at, stop) for stop in stops if stop and (at := text.find(stop)) >= 0]
    if not found:
        return pieces, None
    end, stop = min(found)
    kept: list[str] = []
    for piece in pieces:
        if end <= 0:
            break
        kept.append(piece[:end])
        end -= len(piece)
    return kept, stop
