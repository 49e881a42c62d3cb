"""The cells that one part of the gateway moves together, bound once and then reached as attributes."""

from gateway.core.outcome import Outcome
from gateway.metrics.cells import CounterCell
from gateway.metrics.declarations import Declarations


class RouteCells:
    """What a request of one tenant for one model at one provider moves.

    ``duration`` takes seconds; ``tokens_input`` and ``tokens_output`` tokens; ``cost`` whole nano-dollars.
    """

    __slots__ = ("_labels", "_requests", "_statuses", "cost", "duration", "tokens_input", "tokens_output")

    def __init__(self, declared: Declarations, tenant: str, provider: str, model: str) -> None:
        labels = self._labels = (tenant, provider, model)
        self._requests = declared.requests
        self._statuses: dict[Outcome, CounterCell] = {}
        self.duration = declared.request_duration.labels(*labels)
        self.tokens_input = declared.tokens.labels(*labels, "input")
        self.tokens_output = declared.tokens.labels(*labels, "output")
        self.cost = declared.cost_usd.labels(*labels)

    def requests(self, status: Outcome) -> CounterCell:
        """Requests that ended as ``status``."""
        cell = self._statuses.get(status)
        if cell is None:
            cell = self._statuses[status] = self._requests.labels(*self._labels, status)
        return cell


class TargetCells:
    """What a stream or an answer of one model at one provider moves, whoever asked.

    ``ttft``, ``inter_chunk`` and ``stream_duration`` take seconds, the counters tokens.
    """

    __slots__ = (
        "cache_write",
        "cached_input",
        "inter_chunk",
        "reasoning",
        "stream_duration",
        "tokens_per_second",
        "ttft",
    )

    def __init__(self, declared: Declarations, provider: str, model: str) -> None:
        self.ttft = declared.time_to_first_token.labels(provider, model)
        self.inter_chunk = declared.inter_chunk.labels(provider, model)
        self.stream_duration = declared.stream_duration.labels(provider, model)
        self.tokens_per_second = declared.output_tokens_per_second.labels(provider, model)
        self.cached_input = declared.token_details.labels(provider, model, "cached_input")
        self.cache_write = declared.token_details.labels(provider, model, "cache_write")
        self.reasoning = declared.token_details.labels(provider, model, "reasoning")


class ProviderCells:
    """What concerns one provider, whatever the model."""

    __slots__ = ("_attempts", "_errors", "_provider", "_settlements", "active_streams", "stalls")

    def __init__(self, declared: Declarations, provider: str) -> None:
        self._provider = provider
        self._errors = declared.provider_errors
        self._attempts = declared.attempts
        self._settlements = declared.stream_settlements
        self.active_streams = declared.active_streams.labels(provider)
        self.stalls = declared.stalls.labels(provider)

    def errors(self, error_type: Outcome) -> CounterCell:
        """Attempts that failed by the provider's fault: ``declarations.PROVIDER_ERRORS``."""
        return self._errors.labels(self._provider, error_type)

    def attempts(self, result: Outcome) -> CounterCell:
        """Attempts that ended as ``result``."""
        return self._attempts.labels(self._provider, result)

    def settlements(self, source: str) -> CounterCell:
        """Streams whose token counts were ``reported``, ``estimated`` or ``none``."""
        return self._settlements.labels(self._provider, source)
