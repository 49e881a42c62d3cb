"""What can become of a request, as scripts for the upstream and deeds of the client: the cast of the test of truth."""

import random
from collections.abc import Callable

from tests.behaviour.fate import Fate, Play, Tokens
from tests.behaviour.stage import CHAT, COMPLETIONS, COUNT_TOKENS, EMBEDDINGS, MESSAGES, RESPONSES
from tests.provider_answers import (
    anthropic_answer,
    anthropic_error,
    anthropic_stream,
    completions_stream,
    embeddings_answer,
    openai_answer,
    openai_chunk,
    openai_error,
    openai_error_doc,
    openai_stream,
    responses_answer,
    responses_stream,
    unary,
)
from tests.upstream_script import CHUNKED, JSON, SSE, Script, chunk, event, head, raw, reset, sse, stall

THROTTLES = ("Retry-After", "3600")
CUT_WORDS = 256
"""Words in each write of a stream that is long enough to be cut."""


WORD = event(openai_chunk({"content": "word"}))
PREAMBLE: Script = [head(200, SSE, CHUNKED), event(openai_chunk({"role": "assistant", "content": ""}))]


FAILED = event(openai_error_doc())
SILENT = Play([*PREAMBLE, stall()])
EMBEDDED = Play(embeddings_answer(), "success", Tokens(11, 0))
THROTTLED = Play(openai_error(429, THROTTLES, kind="rate_limit"), "provider_throttled")


def begun(words: int) -> Script:
    """A chat stream of so many words, that goes on."""
    return [*PREAMBLE, *[WORD] * words]


def tokens_of(dice: random.Random, at_least: int = 0, *, written: bool = False) -> Tokens:
    """Counts as a provider could report them, of an answer of so many events or more."""
    output = at_least + dice.randrange(200)
    return Tokens(
        dice.randrange(1, 500),
        output,
        cached=dice.choice((0, 0, dice.randrange(300))),
        written=dice.randrange(100) if written else 0,
        reasoning=dice.choice((0, 0, dice.randrange(output + 1))),
    )


def good(dice: random.Random, path: str, *, stream: bool) -> Play:
    """A whole answer, with usage."""
    n = dice.randrange(1, 9)
    if path == MESSAGES:
        claudes = tokens_of(dice, n, written=True)
        tokens = Tokens(claudes.input, claudes.output, claudes.cached, claudes.written)
        usage = tokens.as_anthropic()
        return Play(anthropic_stream(n, usage=usage) if stream else anthropic_answer(usage=usage), "success", tokens)
    tokens = tokens_of(dice, n)
    if path == RESPONSES and stream:
        closing = dice.choice(("completed", "incomplete"))
        return Play(responses_stream(n, usage=tokens.as_responses(), closing=closing), "success", tokens)
    if path == RESPONSES:
        return Play(responses_answer(), "success", Tokens(11, 3))
    if stream:
        script = openai_stream(n, usage=tokens.as_openai(), usage_in_finish=dice.random() < 0.5)
        return Play(script, "success", tokens)
    return Play(openai_answer("word " * n, usage=tokens.as_openai()), "success", tokens)


def served(dice: random.Random) -> list[Fate]:
    """Answers that are whole: streams and documents in three dialects, with usage, without, and with 0 of it."""
    claude, gpt = "claude", "gpt"
    zero = Tokens(7, 0)
    silent = openai_stream(dice.randrange(1, 9))
    return [
        *(Fate("chat stream", CHAT, m, {p: (good(dice, CHAT, stream=True),)}) for p, m in (("one", gpt), ("two", "b"))),
        Fate("chat", CHAT, gpt, {"one": (good(dice, CHAT, stream=False),)}, stream=False),
        Fate("by a pattern", CHAT, "open-x7", {"one": (good(dice, CHAT, stream=False),)}, stream=False),
        Fate("responses stream", RESPONSES, gpt, {"one": (good(dice, RESPONSES, stream=True),)}),
        Fate("responses", RESPONSES, gpt, {"one": (good(dice, RESPONSES, stream=False),)}, stream=False),
        Fate("messages stream", MESSAGES, claude, {"claude": (good(dice, MESSAGES, stream=True),)}),
        Fate("messages", MESSAGES, claude, {"claude": (good(dice, MESSAGES, stream=False),)}, stream=False),
        Fate(
            "usage asked for",
            CHAT,
            gpt,
            {"one": (good(dice, CHAT, stream=True),)},
            fields={"stream_options": {"include_usage": True}},
        ),
        Fate("usage missing", CHAT, gpt, {"one": (Play(silent, "success"),)}),
        Fate("usage missing", RESPONSES, gpt, {"one": (Play(responses_stream(4, usage=None), "success"),)}),
        Fate("usage missing", COMPLETIONS, gpt, {"one": (Play(completions_stream(4), "success"),)}),
        Fate("usage missing", CHAT, gpt, {"one": (Play(openai_answer(usage=None), "success"),)}, stream=False),
        # only these two can be counted too high for a while: the last requests of this route pay it back
        Fate("zero", CHAT, gpt, {"one": (Play(openai_stream(3, usage=zero.as_openai()), "success", zero),)}, "acme"),
        Fate("garbage", CHAT, gpt, {"one": (Play([*begun(5), raw(b"zz\r\n"), stall()], "provider_error"),)}, "acme"),
        Fate(
            "embeddings", EMBEDDINGS, gpt, {"one": (Play(embeddings_answer(), "success", Tokens(11, 0)),)}, stream=False
        ),
        Fate("free", COUNT_TOKENS, claude, {"claude": (Play(unary({"input_tokens": 9}), "success"),)}, stream=False),
    ]


def failed(dice: random.Random) -> list[Fate]:
    """What providers do wrong, before content and after it, with nobody else to ask, with somebody, and asked again."""
    early: list[Play] = [
        Play(openai_error(500), "provider_error"),
        Play(openai_error(503), "provider_error"),
        Play(openai_error(429, ("Retry-After", "0"), kind="rate_limit"), "provider_throttled"),
        Play(openai_error(401), "provider_auth"),
        Play(openai_error(404), "provider_misrouted"),
        Play([reset()], "provider_error"),
        Play([*PREAMBLE, reset()], "truncated"),
        Play([head(200, SSE, CHUNKED), FAILED, raw(b"0\r\n\r\n")], "stream_error"),
        Play(unary({"no": "answer", "error": {"message": "x"}}), "provider_error"),
    ]
    n = dice.randrange(1, 9)
    told = tokens_of(dice)
    broken = anthropic_stream(n, usage=told.as_anthropic())[: 4 + n]
    late: list[Fate] = [
        Fate("broken off", CHAT, "gpt", {"one": (Play([*begun(n), reset()], "truncated"),)}),
        Fate(
            "error event",
            CHAT,
            "gpt",
            {"one": (Play([*begun(n), event(openai_error_doc()), reset()], "stream_error"),)},
        ),
        Fate("fell silent", CHAT, "silent", {"silent": (Play([*begun(n), stall()], "stalled"),)}),
        Fate("broken off", MESSAGES, "claude", {"claude": (Play([*broken, reset()], "truncated", told_input=told),)}),
    ]
    answer = good(dice, CHAT, stream=True)
    return [
        *(Fate("alone", CHAT, "gpt", {"one": (play,)}) for play in early),
        *(Fate("alone", CHAT, "gpt", {"one": (play,)}, stream=False) for play in early[:6]),
        *(Fate("moved on", CHAT, "both", {"one": (play,), "two": (answer,)}) for play in early),
        Fate("both failed", CHAT, "both", {"one": (early[0],), "two": (early[6],)}),
        Fate("asked again", CHAT, "again", {"three": (early[0], answer)}),
        Fate("asked twice again", CHAT, "again", {"three": (early[6], early[0], answer)}),
        Fate("asked in vain", CHAT, "again", {"three": (early[0],)}),
        Fate("refused", CHAT, "gpt", {"one": (Play(openai_error(400), "invalid_request"),)}),
        Fate("refused", MESSAGES, "claude", {"claude": (Play(anthropic_error(413), "invalid_request"),)}, stream=False),
        Fate("unreachable", CHAT, "dead", unheard=(("dead", "connect_failed"),)),
        Fate("moved on from nowhere", CHAT, "undead", {"two": (answer,)}, unheard=(("dead", "connect_failed"),)),
        Fate(
            "too late",
            CHAT,
            "slow",
            {"slow": (Play([*PREAMBLE, stall()]),)},
            unheard=(("slow", "first_token_timeout"),),
        ),
        Fate("rests", CHAT, "rest", {"resting": (THROTTLED,)}),
        Fate(
            "passed over",
            CHAT,
            "rests",
            {"resting": (THROTTLED,), "two": (answer,)},
            rests=("resting", "provider_throttled"),
        ),
        Fate(
            "hedged",
            CHAT,
            "hedged",
            {"one": (SILENT,), "two": (answer,)},
            unheard=(("one", "hedge_lost"),),
            hedged=("two", "won"),
        ),
        *late,
    ]


def left(dice: random.Random) -> list[Fate]:
    """Clients that leave: in each phase."""
    half: Script = [head(200, JSON, ("Content-Length", "1000")), raw(b'{"object":'), stall()]
    return [
        Fate("left", CHAT, "gpt", {"one": (Play([stall()]),)}, leaves="before_head"),
        Fate("left", CHAT, "gpt", {"one": (SILENT,)}, leaves="before_content"),
        Fate("left", CHAT, "gpt", {"one": (Play([*begun(dice.randrange(1, 9)), stall()]),)}, leaves="streaming"),
        Fate("left", CHAT, "gpt", {"one": (Play(half),)}, leaves="unary", stream=False),
    ]


def refused(dice: random.Random) -> list[Fate]:
    """What the gateway itself refuses, or begins to: keys, models, limits, budgets, nonsense."""
    limited = [
        Fate(
            "limited",
            CHAT,
            "gpt",
            {"one": (Play(openai_answer(usage=t.as_openai()), "success", t),)},
            who,
            stream=False,
        )
        for who in ("hasty", "wordy", "busy", "poor")
        for t in (Tokens(900, 100),)
    ]
    words = chunk(sse(openai_chunk({"content": "word"})) * CUT_WORDS)
    return [
        *limited,
        Fate("cut", CHAT, "gpt", {"one": (Play([*PREAMBLE, *[words] * 12, stall()]),)}, "cut"),
        Fate("no key", CHAT, "gpt", tenant="nobody", stream=False),
        Fate("not allowed", CHAT, "b", tenant="narrow", stream=False),
        Fate("unknown", CHAT, f"made-up-{dice.randrange(10**9)}", stream=False),
        Fate("other dialect", MESSAGES, "gpt", stream=False),
        Fate("not JSON", CHAT, "gpt", raw_body=b"{", stream=False),
        Fate("no route", f"/v1/{dice.randrange(10**9)}", "gpt", tenant="nobody", raw_body=b"{}", stream=False),
        Fate("models", "/v1/models", "", stream=False),
    ]


def drawn(dice: random.Random, count: int) -> list[Fate]:
    """A plan of so many requests: whole answers most of all; every fate there is, a few times in any thousand."""
    kinds: list[tuple[Callable[[random.Random], list[Fate]], int]] = [
        (served, 12),
        (failed, 6),
        (left, 1),
        (refused, 2),
    ]
    hands: list[list[Fate]] = [make(dice) for make, weight in kinds for _ in range(weight)]
    plan = [fate for make, _ in kinds for fate in make(dice)]
    # a stream that is long enough to be cut costs more than all else; the others come again and again
    cheap = [[fate for fate in hand if fate.name != "cut"] for hand in hands]
    while len(plan) < count:
        plan.append(dice.choice(dice.choice(cheap)))
    dice.shuffle(plan)
    return plan
