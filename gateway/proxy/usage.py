"""How many tokens an exchange took: what the provider reported, else an estimate that says it is one."""

import json
from dataclasses import replace

from gateway.core.tokens import Source, Usage, estimate_output, estimate_text_tokens
from gateway.dialects import Operation
from gateway.dialects.operation import answer_text
from gateway.proxy.exchange import Exchange, Order
from gateway.upstream.stream import UpstreamStream

NOTHING = Usage()


def usage_of(exchange: Exchange, order: Order) -> tuple[Usage, str | None]:
    """The tokens to bill, and the id under which the answer can be continued, if it can.

    Zero reported is zero; only what is absent is estimated. Nothing is billed of an answer of which the client has
    nothing.
    """
    prompt_tokens = order.view.prompt_tokens
    if exchange.stream is not None:
        return _of_stream(exchange.stream, prompt_tokens), exchange.stream.flow.reader.response_id
    if exchange.answer is not None:
        report = order.operation.report(exchange.answer)
        if report.usage is not None:
            return report.usage, report.response_id
        output = estimate_text_tokens(answer_text(exchange.answer))
        return Usage(input=prompt_tokens, output=output, source=Source.ESTIMATED), report.response_id
    if exchange.answer_tail:
        reported = _of_tail(order.operation, exchange.answer_tail)
        return reported or Usage(input=prompt_tokens, source=Source.ESTIMATED), None
    return NOTHING, None


def _of_stream(stream: UpstreamStream, prompt_tokens: int) -> Usage:
    flow = stream.flow
    reported = flow.reader.usage()
    if flow.reader.finished and reported is not None:
        return reported
    output = estimate_output(stream.events, stream.text_bytes)
    if reported is not None:
        # It broke off: what was said of the input stands, the output had not been counted to its end.
        return replace(reported, output=max(reported.output, output), source=Source.ESTIMATED)
    return Usage(input=prompt_tokens, output=output, source=Source.ESTIMATED)


def _of_tail(operation: Operation, tail: bytes) -> Usage | None:
    """Usage out of the last bytes of a large answer, where it stands in every dialect."""
    at = tail.rfind(b'"usage"')
    brace = tail.find(b"{", at)
    if at < 0 or brace < 0:
        return None
    try:
        usage, _ = json.JSONDecoder().raw_decode(tail[brace:].decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        # a provider's bytes: an integer of 5,000 digits and 1,000 open braces have errors of their own
        return None
    return operation.report({"usage": usage}).usage
