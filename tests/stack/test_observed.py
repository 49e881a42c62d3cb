"""Two real replicas under traffic, as a real Prometheus sees them: every panel, rule and alert has something to say."""

import math
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from deploy.grafana.series import LATER
from deploy.prometheus.generate import LEVELS, recorded
from tests.databases import PostgresServer
from tests.deploy.grafana.as_grafana_asks import ALL, choice, labels_of, substituted, targets
from tests.deploy.grafana.real_prometheus import Prometheus, Sample
from tests.redis_server import RedisServer
from tests.stack.observed_stack import NARROW, SHIPPED, Play, Stack, addressed, at_pace, every_second, running_stack
from tests.surface.process import gateway_command

OF_THE_BRIEF = (
    "sum(rate(aigateway_requests_total[5m]))",
    'sum(rate(aigateway_requests_total{status!="success"}[5m])) / sum(rate(aigateway_requests_total[5m]))',
    "histogram_quantile(0.99, sum(rate(aigateway_request_duration_seconds_bucket[5m])) by (le))",
    "sum(increase(aigateway_cost_usd_total[1h]))",
    "sum(rate(aigateway_cache_hits_total[5m]))"
    " / (sum(rate(aigateway_cache_hits_total[5m])) + sum(rate(aigateway_cache_misses_total[5m])))",
    "sum(rate(aigateway_provider_errors_total[5m]))",
)
"""What operators were promised to be able to ask, as written."""
PACE = 30
"""In `make test` a minute passes in two seconds, for the rules."""
PATIENCE_S, SOAK_PATIENCE_S = 600.0, 1800.0


@pytest.fixture(scope="module")
def _prometheus_is_here() -> None:
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not on PATH (Debian package prometheus)")


def shortly(story: str) -> Play:
    """A story of ``short_play``."""
    return lambda url, *ports: [sys.executable, "-m", "tests.stack.short_play", story, url, *map(str, ports)]


def as_shipped(url: str, *ports: int) -> Sequence[str]:
    """The traffic of `make demo`."""
    return gateway_command("traffic", "--url", url, "--play", *map(str, ports))


class Questions:
    """Everything that must be answered; an answer that was once good is not asked for again.

    Args:
        stack: while it runs.
        window_s: what ``$__rate_interval`` is: four scrapes at least.
    """

    def __init__(self, stack: Stack, window_s: int) -> None:
        self._prometheus = stack.prometheus
        self._window_s, self._since_s = window_s, time.time()
        two = {
            "instance": choice(stack.addresses),
            "tenant": choice(["acme", "globex"]),
            "provider": choice(["south", NARROW]),
            "model": choice(["assistant", NARROW]),
        }
        self._open = {(title, expr, legend, i) for title, expr, legend in targets() for i in (0, 1)}
        self._chosen = (ALL, two)
        self._plain = {query for query in OF_THE_BRIEF if not any(name in query for name in LATER)}
        self._plain |= {f'{name}{{slo="{level.slo}"}}' for name in recorded() for level in LEVELS}
        self.asked = len(self._open) + len(self._plain)
        self.nameless: set[str] = set()

    def answered(self) -> bool:
        """Ask what is still open; return whether nothing is."""
        range_s = max(60, math.ceil(time.time() - self._since_s))
        for question in sorted(self._open):
            title, expression, legend, number = question
            sent = substituted(expression, self._chosen[number], self._window_s, range_s)
            samples = self._prometheus.ask(sent)
            if any(labels_of(legend) - sample.labels.keys() for sample in samples):
                self.nameless.add(f"{title}: {legend} over {samples[0].labels}")
            if is_number(samples):
                self._open.remove(question)
        self._plain = {query for query in self._plain if not is_number(self._prometheus.ask(query))}
        return not (self._open or self._plain)

    def __str__(self) -> str:
        panels = (f"{title} ({('all', 'two')[number]}): {expr}" for title, expr, _, number in sorted(self._open))
        return "no answer to " + "; ".join([*sorted(self._plain), *panels])


def is_number(samples: list[Sample]) -> bool:
    """Whether there is anything but NaN."""
    return any(not math.isnan(sample.value) for sample in samples)


def firing(prometheus: Prometheus, alert: str, **labels: str) -> bool:
    """Whether it fires now."""
    return bool(prometheus.ask(f"ALERTS{{{_matchers(alert, labels)}}}"))


def has_fired(prometheus: Prometheus, alert: str, **labels: str) -> bool:
    """Whether it ever did."""
    return bool(prometheus.ask(f"max_over_time(ALERTS{{{_matchers(alert, labels)}}}[1h])"))


def _matchers(alert: str, labels: dict[str, str]) -> str:
    wanted = {"alertname": alert, "alertstate": "firing", **labels}
    return ",".join(f'{name}="{value}"' for name, value in wanted.items())


def unhealthy(prometheus: Prometheus) -> list[str]:
    """Rules that could not be evaluated, or were not yet."""
    return [f"{r['name']}: {r['health']} {r.get('lastError', '')}" for r in prometheus.rules() if r["health"] != "ok"]


@pytest.fixture
def stack(
    _prometheus_is_here: None,
    tmp_path: Path,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    soaking: bool,
) -> Iterator[Stack]:
    """With the shipped traffic and rules at full size; else with a short story, and rules in a hurry."""
    play, pace, patience_s = (as_shipped, 1, SOAK_PATIENCE_S) if soaking else (shortly("outage"), PACE, PATIENCE_S)
    with running_stack(tmp_path, postgres_server, redis_server, play, pace=pace, patience_s=patience_s) as running:
        yield running


def test_everything_is_seen(stack: Stack, soaking: bool) -> None:
    """Every query of every panel and of the brief, every recorded series; and alerts that fire and clear.

    One test, for what takes time is one story: a provider is down for a while, and a replica.
    """
    prometheus = stack.prometheus
    questions = Questions(stack, window_s=20 if soaking else 10)
    assert questions.asked > 200
    stack.until(questions, questions.answered)
    assert questions.nameless == set()
    stack.until("not every rule is evaluated", lambda: unhealthy(prometheus) == [])

    second = {"instance": stack.addresses[1]}
    stack.until("GatewayDown fires for one that is up", lambda: not firing(prometheus, "GatewayDown", **second))
    stack.gateways[1].kill()
    stack.until("GatewayDown does not fire", lambda: firing(prometheus, "GatewayDown", **second))
    stack.gateways[1].start()
    stack.wait_ready(1)
    stack.until("GatewayDown does not clear", lambda: not firing(prometheus, "GatewayDown", **second))

    outage = [("CircuitOpen", {"provider": "south"}), ("CircuitOpen", {"provider": "south-claude"})]
    outage += [("HighErrorRate", {})] if soaking else []
    for alert, labels in outage:
        stack.until(f"{alert} {labels} does not fire", lambda: has_fired(prometheus, alert, **labels))  # noqa: B023
    if soaking:
        stack.play_instead(shortly("calm"))
    for alert, labels in outage:
        stack.until(f"{alert} {labels} does not clear", lambda: not firing(prometheus, alert, **labels))  # noqa: B023
    assert not firing(prometheus, "RuleEvaluationFails")


def test_only_addresses_are_replaced() -> None:
    """What Prometheus runs on in these tests is the shipped file in every other respect."""
    shipped = (SHIPPED / "prometheus.yml").read_text("utf-8")
    ours, theirs = yaml.safe_load(addressed(shipped, "c:1", "h:1", "p:1")), yaml.safe_load(shipped)
    found = {job["job_name"]: job.pop("static_configs") for job in ours["scrape_configs"]}
    assert found == {
        "gateway": [{"targets": ["c:1"]}],
        "gateway-host": [{"targets": ["h:1"]}],
        "prometheus": [{"targets": ["p:1"]}],
    }
    for job in theirs["scrape_configs"]:
        job.pop("static_configs", None)
        job.pop("dns_sd_configs", None)
    assert ours == theirs
    assert set(yaml.safe_load(every_second(shipped))["global"].values()) == {"1s"}


def test_rules_in_a_hurry_ask_the_same() -> None:
    """Only windows and the times that something must last are shorter; a recorded name keeps its window."""
    text = "expr: aigateway_slo:bad_ratio_rate1h > 1 and rate(x[1h]) > y[1m]\nfor: 15m\nsummary: for 5m"
    assert at_pace(text, 30) == (
        "expr: aigateway_slo:bad_ratio_rate1h > 1 and rate(x[120s]) > y[4s]\nfor: 30s\nsummary: for 5m"
    )
    for path in sorted((SHIPPED / "rules").glob("*.yml")):
        shipped = path.read_text("utf-8")
        hurried = at_pace(shipped, PACE)
        assert hurried != shipped
        assert _untimed(hurried) == _untimed(shipped)


def _untimed(text: str) -> str:
    return re.sub(r"(\[|\bfor: )\d+[smhd](\]|$)", r"\1…\2", text, flags=re.M)
