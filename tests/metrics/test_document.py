"""docs/metrics.md says what the code does."""

from pathlib import Path

from gateway.metrics.document import document

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_page_is_up_to_date() -> None:
    """If this fails, run `python -m gateway.metrics.document > docs/metrics.md` and read the difference."""
    assert PAGE.read_text() == document()


def test_page_names_the_opentelemetry_metrics() -> None:
    """Where a convention exists the page gives its name."""
    rows = dict(
        line.strip("| ").split(" | ")[:2] for line in document().splitlines() if line.startswith("| `aigateway_")
    )
    assert rows == {
        "`aigateway_token_details_total`": (
            "`gen_ai.client.inference.usage.cache_read.input_tokens`, "
            "`gen_ai.client.inference.usage.cache_write.input_tokens`, "
            "`gen_ai.client.inference.usage.reasoning.output_tokens`"
        ),
        "`aigateway_tokens_total`": (
            "`gen_ai.client.inference.usage.input_tokens`, `gen_ai.client.inference.usage.output_tokens`"
        ),
        "`aigateway_time_to_first_token_seconds`": "`gen_ai.server.time_to_first_token`",
        "`aigateway_inter_chunk_seconds`": "`gen_ai.client.inference.time_per_output_chunk`",
        "`aigateway_output_tokens_per_second`": "`gen_ai.server.time_per_output_token`",
        "`aigateway_request_duration_seconds`": "`gen_ai.server.request.duration`",
    }
