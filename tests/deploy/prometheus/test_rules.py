"""The rules as they are written: what they ask for exists, and whoever is woken finds out what to do."""

import re

import pytest

from tests.deploy.prometheus.shipped import (
    ALERT_NAMES,
    RUNBOOK,
    Alert,
    alerts,
    complaints,
    expressions,
    groups_of_tests,
    metrics,
    selectors,
)

SEVERITIES = {"page", "ticket", "warning"}
PARTS = ("**What it means.**", "**How to look.**", "**What to do.**")
MINIMUM = re.compile(r">= \d{2,}")
"""How an expression says that less traffic is too little."""


@pytest.fixture(scope="module")
def runbook() -> dict[str, str]:
    """The sections of the runbook by their headings."""
    _, *sections = re.split(r"^## ", RUNBOOK.read_text("utf-8"), flags=re.MULTILINE)
    return {heading: text for heading, _, text in (section.partition("\n") for section in sections)}


def test_everything_a_rule_asks_for_exists() -> None:
    """Metrics, their labels, and the values of labels that come from a closed set."""
    known = metrics()
    assert [complaint for expr in expressions() for complaint in complaints(expr, known)] == []


@pytest.mark.parametrize(
    ("expr", "complaint"),
    [
        ("rate(aigateway_request_total[5m])", "aigateway_request_total does not exist"),
        ('aigateway_requests_total{state="ok"} > 0', "aigateway_requests_total has no label state"),
        (
            'sum(aigateway_requests_total{status=~"success|stale"})',
            'aigateway_requests_total: status is never "stale"',
        ),
        (
            'aigateway_time_to_first_token_seconds_bucket{le="2"}',
            'aigateway_time_to_first_token_seconds_bucket: le is never "2"',
        ),
        ("sum by (le, tenant) (rate(aigateway_overhead_seconds_bucket[5m]))", "nothing here has the label tenant"),
        ("aigateway_overhead_seconds > 1", "aigateway_overhead_seconds does not exist"),
        ('up{job="gateways"} == 0', 'up: job is never "gateways"'),
        (
            'aigateway_circuit_breaker_transitions_total{to="open", reason!="tired"}',
            'aigateway_circuit_breaker_transitions_total: reason is never "tired"',
        ),
        ('aigateway_slo:bad_rate5m{slo="latency"}', 'aigateway_slo:bad_rate5m: slo is never "latency"'),
    ],
    ids=["name", "label", "status", "bound", "grouping", "histogram", "job", "reason", "slo"],
)
def test_a_mistake_is_found(expr: str, complaint: str) -> None:
    """The test above can fail."""
    assert complaints(expr, metrics()) == [complaint]


def test_selectors_are_read_whole() -> None:
    """Functions, keywords and labels of a grouping are none; ranges and matchers belong to their metric."""
    expr = 'sum by (a) (rate(x{l="1", m=~"2|3"}[5m])) / on (a) y offset 5m > 0.5 and absent(z:w) unless (v >= 1)'
    assert [(s.name, s.matchers) for s in selectors(expr)] == [
        ("x", (("l", "=", "1"), ("m", "=~", "2|3"))),
        ("y", ()),
        ("z:w", ()),
        ("v", ()),
    ]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: f"{alert.name}-{alert.labels.get('window', '')}")
def test_alert_tells_who_is_woken_what_to_do(alert: Alert, runbook: dict[str, str]) -> None:
    """Severity, one line, an explanation, and a section of the runbook that a reader without network can open."""
    assert alert.labels["severity"] in SEVERITIES
    assert alert.annotations.keys() == {"summary", "description", "runbook_url"}
    summary, description = alert.annotations["summary"], alert.annotations["description"]
    assert len(summary) <= 120 and "\n" not in summary and not summary.endswith(".")
    assert description.endswith(".")
    # the anchor is what Markdown renderers make of the heading
    assert alert.annotations["runbook_url"] == f"docs/runbook.md#{alert.name.lower()}"
    assert [part for part in PARTS if part not in runbook.get(alert.name, "")] == []


def test_runbook_has_no_section_without_an_alert(runbook: dict[str, str]) -> None:
    """And they stand in the order of the rules."""
    assert tuple(heading for heading in runbook if heading in ALERT_NAMES) == ALERT_NAMES
    assert [heading for heading in runbook if heading not in ALERT_NAMES] == ["Severities"]


def test_runbook_asks_for_what_exists(runbook: dict[str, str]) -> None:
    """The queries it tells people to make."""
    queries = [q for text in runbook.values() for q in re.findall(r"^```promql\n(.*?)^```", text, re.M | re.S)]
    known = metrics()
    assert [complaint for query in queries for complaint in complaints(query, known)] == []
    assert len(queries) >= len(ALERT_NAMES) // 2


def test_shares_are_taken_of_a_minimum_of_traffic() -> None:
    """One failure of two requests alerts nobody."""
    shares = [a for a in alerts() if re.search(r"/\s*\(\s*sum\b|bad_ratio", a.expr)]
    assert len({alert.name for alert in shares}) >= 8
    assert [alert.name for alert in shares if not MINIMUM.search(alert.expr)] == []


@pytest.mark.parametrize("name", ALERT_NAMES)
def test_alert_is_proved(name: str) -> None:
    """Some unit test sees it fire and be silent over one and the same series; and be silent at too little traffic."""
    told = [
        [bool(check.get("exp_alerts")) for check in group.get("alert_rule_test", ()) if check["alertname"] == name]
        for group in groups_of_tests()
    ]
    assert any({True, False} <= set(fired) for fired in told)
    if any(alert.name == name and MINIMUM.search(alert.expr) for alert in alerts()):
        little = [g for g in groups_of_tests() if g["name"].startswith(f"{name}: too little traffic")]
        assert little
        assert not any(check.get("exp_alerts") for group in little for check in group["alert_rule_test"])


def test_provider_errors_alert_is_the_promised_one() -> None:
    """Name, expression and severity are a contract."""
    (alert,) = (alert for alert in alerts() if alert.name == "HighErrorRate")
    assert alert.expr == "sum(rate(aigateway_provider_errors_total[5m])) > 0.1"
    assert alert.labels == {"severity": "warning"}
