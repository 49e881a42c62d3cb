"""The shipped Prometheus files as tests read them: rules, what their expressions ask for, and the unit tests."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from aioprometheus.collectors import Registry

from deploy.prometheus.generate import LEVELS, recorded
from gateway.metrics.collectors import BoundHistogram
from gateway.metrics.declarations import NONE, OTHER, STORE_OPS, TRANSITIONS, Declarations
from gateway.metrics.process import ProcessMetrics

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "prometheus"
RULE_FILES = sorted((FOLDER / "rules").glob("*.yml"))
TEST_FILES = sorted((FOLDER / "tests").glob("*.yml"))
RUNBOOK = ROOT / "docs" / "runbook.md"

_GROUPING = re.compile(r"\b(by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"\b([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?(?:\s*\[[^\]]*\])?(?!\w|\s*\()")
_MATCHER = re.compile(r"""(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"\s*(?:,|$)""")
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}


@dataclass(frozen=True, slots=True)
class Metric:
    """What may be asked of a metric: its labels, and the values of those that have a closed vocabulary."""

    labels: frozenset[str]
    words: dict[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Selector:
    """One metric in an expression, with its matchers as (label, operator, value)."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Alert:
    """One alerting rule."""

    name: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]


def load(path: Path) -> Any:
    """A YAML file."""
    return yaml.safe_load(path.read_text("utf-8"))


def _rules() -> Iterator[dict[str, Any]]:
    for path in RULE_FILES:
        for group in load(path)["groups"]:
            yield from group["rules"]


def alerts() -> list[Alert]:
    """Every alerting rule; several may have one name."""
    return [Alert(r["alert"], r["expr"], r["labels"], r["annotations"]) for r in _rules() if "alert" in r]


ALERT_NAMES = tuple(dict.fromkeys(alert.name for alert in alerts()))


def expressions() -> list[str]:
    """The expression of every rule, recording or alerting."""
    return [rule["expr"] for rule in _rules()]


def selectors(expr: str) -> list[Selector]:
    """What an expression reads."""
    found = []
    for name, matchers in _SELECTOR.findall(_GROUPING.sub("", expr)):
        if name in _WORDS:
            continue
        pairs = tuple(_MATCHER.findall(matchers))
        assert matchers.count("=") + matchers.count("!~") >= len(pairs) > 0 or not matchers.strip(), matchers
        found.append(Selector(name, pairs))
    return found


def grouped_by(expr: str) -> set[str]:
    """The labels that an expression sums or joins by."""
    return {label.strip() for _, inner in _GROUPING.findall(expr) for label in inner.split(",")}


def jobs() -> frozenset[str]:
    """The jobs of prometheus.yml."""
    return frozenset(job["job_name"] for job in load(FOLDER / "prometheus.yml")["scrape_configs"])


def metrics() -> dict[str, Metric]:
    """Every series that a rule may read, by name: the gateway's, the recorded ones, and Prometheus' own."""
    scraped = frozenset({"job", "instance"})
    known = {"up": Metric(scraped, {"job": jobs()})}
    known["prometheus_rule_evaluation_failures_total"] = Metric(scraped | {"rule_group"}, {"job": jobs()})
    slos = frozenset(level.slo for level in LEVELS)
    known |= {name: Metric(frozenset({"slo"}), {"slo": slos}) for name in recorded()}
    declared = Declarations(Registry())
    for family in [*declared.families(), *ProcessMetrics(Registry()).families()]:
        words = {label: frozenset(map(str, values)) for label, values in family.words.items()} | {"job": jobs()}
        words |= {label: frozenset({NONE, OTHER}) for label in family.label_names if label not in words}
        if family is declared.circuit_transitions:
            words |= {"to": frozenset(to for to, _ in TRANSITIONS), "reason": frozenset(why for _, why in TRANSITIONS)}
        if family in (declared.store_up, declared.store_seconds):
            words["store"] = frozenset(store for store, _ in STORE_OPS)
        labels = scraped | set(family.label_names)
        if isinstance(family, BoundHistogram):
            bounds = frozenset(map(str, family.bounds)) | {"+Inf"}
            known[f"{family.name}_bucket"] = Metric(labels | {"le"}, words | {"le": bounds})
            known |= {family.name + ending: Metric(labels, words) for ending in ("_sum", "_count")}
        else:
            known[family.name] = Metric(labels, words)
    return known


def complaints(expr: str, known: dict[str, Metric]) -> list[str]:
    """What an expression asks for that does not exist: metrics, labels, values of labels."""
    found = []
    labels: set[str] = set()
    for selector in selectors(expr):
        metric = known.get(selector.name)
        if metric is None:
            found.append(f"{selector.name} does not exist")
            continue
        labels |= metric.labels
        for label, operator, value in selector.matchers:
            if label not in metric.labels:
                found.append(f"{selector.name} has no label {label}")
            elif label in metric.words:
                asked = value.split("|") if "~" in operator else [value]
                found += [
                    f'{selector.name}: {label} is never "{word}"' for word in asked if word not in metric.words[label]
                ]
    return found + [f"nothing here has the label {label}" for label in sorted(grouped_by(expr) - labels)]


def groups_of_tests() -> list[dict[str, Any]]:
    """The groups of all unit tests of rules."""
    return [group for path in TEST_FILES for group in load(path)["tests"]]
