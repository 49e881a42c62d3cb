"""docs/metrics.md from the declarations: ``python -m gateway.metrics.document > docs/metrics.md``."""

import sys

from aioprometheus.collectors import Registry

from gateway.metrics.collectors import AnyFamily, BoundHistogram
from gateway.metrics.declarations import Declarations
from gateway.metrics.known import MAX_KNOWN_SERIES
from gateway.metrics.process import ProcessMetrics
from gateway.metrics.registry import MAX_TENANT_LABELS

_HEAD = f"""# Metrics

<!-- Written by `python -m gateway.metrics.document` from gateway/metrics/declarations.py. -->

`GET /metrics` answers in the Prometheus text format 0.0.4.

* Label values come from closed sets. `model` is a name or a pattern of the configuration, else `other`.
  `tenant_id` is one of the first {MAX_TENANT_LABELS} configured tenants, else `other`.
  Where no provider was reached `provider` is `none`; before a key was recognised `tenant_id` is `none`.
* Series that the configuration makes possible exist at 0 from the first scrape: every gauge, and counters and
  histograms up to {MAX_KNOWN_SERIES:,} lines; what lies beyond appears when it first happens. Gauges of budgets are
  there for tenants that have a budget, once it has been read. Every replica shows the same: take their `max`.
* Counters move while a stream runs. What was counted too much is not taken back: later increments pay for it
  first, so no counter ever falls.
* Cost is counted in whole nano-dollars and printed in dollars without rounding.
* Bounds of histograms are printed with a decimal point: write `le="2.0"` in rules.
"""

_OTEL_HEAD = """## OpenTelemetry

The GenAI semantic conventions 0.1.0 (status: Development) measure the same under these names; Prometheus counts in
the base units that they count in. Spans carry the same words (docs/tracing.md).

| Here | OpenTelemetry | Difference |
|---|---|---|
"""

_OTEL_DIFFERENCES = {
    "aigateway_tokens_total": "one counter with a label, for two there",
    "aigateway_token_details_total": "one counter with a label, for three there",
    "aigateway_output_tokens_per_second": "the reciprocal, once per stream",
    "aigateway_time_to_first_token_seconds": "streams that broke off after it count too",
    "aigateway_request_duration_seconds": "every request counts, refused ones too",
}

_OTEL_LABELS = """
| Label here | OpenTelemetry attribute |
|---|---|
| `provider` | none: the configuration's name for it; `gen_ai.provider.name` is its dialect, `openai` or `anthropic` |
| `model` | `gen_ai.request.model`; of a pattern the pattern |
| `detail="cached_input"` | `gen_ai.usage.cache_read.input_tokens` |
| `detail="cache_write"` | `gen_ai.usage.cache_write.input_tokens` |
| `detail="reasoning"` | `gen_ai.usage.reasoning.output_tokens` |
| `error_type`, `status`, `result` | `error.type` |
"""


def document() -> str:
    """The whole page."""
    declared = Declarations(Registry()).families()
    process = ProcessMetrics(Registry()).families()
    sections = [_HEAD, "## The gateway\n", *map(_section, declared), "## The process\n"]
    sections.append("Read from `/proc`; absent where there is none.\n")
    sections += map(_section, process)
    rows = [
        f"| `{family.name}` | `{family.otel.replace(', ', '`, `')}` | {_OTEL_DIFFERENCES.get(family.name, 'none')} |\n"
        for family in declared
        if family.otel
    ]
    sections.append(_OTEL_HEAD + "".join(rows) + _OTEL_LABELS)
    return "\n".join(sections)


def _section(family: AnyFamily) -> str:
    lines = [f"### `{family.name}`", "", f"{family.kind.name.capitalize()}. {family.help}", ""]
    for label in family.label_names:
        words = ", ".join(f"`{word}`" for word in family.words.get(label, ()))
        lines.append(f"* `{label}`" + (f": {words}" if words else ""))
    if isinstance(family, BoundHistogram):
        lines.append(f"* bounds: {' '.join(map(str, family.bounds))}")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
