"""The dashboards themselves: what stands around the panels, and which rows there are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.grafana.glance import OVERVIEW, PERFORMANCE, USAGE
from deploy.grafana.health import ERRORS, HEALTH
from deploy.grafana.levels import SLO
from deploy.grafana.panels import DATASOURCE, Json, Panel, placed
from deploy.grafana.queries import WINDOW, of_gateways, select
from deploy.grafana.runbook import runbook_rows
from deploy.grafana.saturation import SATURATION
from deploy.grafana.streams import STREAMS

TAG = "ai-gateway"
MAIN_UID, RUNBOOK_UID = "aigateway", "aigateway-runbook"
RESTARTS = of_gateways(f"1000 * {select('process_start_time_seconds')}")
"""When each gateway started, in milliseconds since the epoch."""
RELOADS = f"sum by (instance, result) (increase({select('config_reloads_total')}[{WINDOW}])) > 0"

Rows = Sequence[tuple[str, Sequence[Panel]]]

MAIN_ROWS: Rows = (
    ("Overview", OVERVIEW),
    ("Performance", PERFORMANCE),
    ("Usage", USAGE),
    ("Health", HEALTH),
    ("Errors", ERRORS),
    ("Streams", STREAMS),
    ("Saturation", SATURATION),
    ("SLO", SLO),
)


def dashboards(runbook: Path) -> dict[str, Json]:
    """Every dashboard, by the name of its file; ``runbook`` is the Markdown whose sections the second one shows."""
    main = _dashboard(
        MAIN_UID,
        "AI Gateway",
        "Who is streaming, what it costs, what is slow and what is broken.",
        MAIN_ROWS,
        [
            _datasource(),
            _variable("Instance", "instance_info", "instance"),
            _variable("Tenant", "requests_total", "tenant_id"),
            _variable("Provider", "requests_total", "provider"),
            _variable("Model", "requests_total", "model"),
        ],
    )
    pages = _dashboard(
        RUNBOOK_UID,
        "AI Gateway: Runbook",
        "What each alert means, how to look and what to do; and which of them are firing.",
        runbook_rows(runbook.read_text("utf-8")),
        [_datasource()],
    )
    return {"aigateway.json": main, "aigateway-runbook.json": pages}


def _dashboard(uid: str, title: str, description: str, rows: Rows, variables: list[Json]) -> Json:
    annotations = [
        _annotation("Alerts", "red", 'ALERTS{alertstate="firing"}', "{{alertname}}", "severity,provider,tenant_id,slo"),
    ]
    if any(variable["name"] == "instance" for variable in variables):
        annotations += [
            _annotation("Restarts", "blue", RESTARTS, "Gateway started", "instance", value_is_time=True),
            _annotation("Configuration reloads", "purple", RELOADS, "Configuration {{result}}", "instance"),
        ]
    return {
        "annotations": {"list": annotations},
        "description": description,
        "editable": False,
        "fiscalYearStartMonth": 0,
        # 1: one crosshair over all panels
        "graphTooltip": 1,
        "id": None,
        "links": [_other_dashboards()],
        "panels": placed(rows),
        "refresh": "10s",
        "schemaVersion": 39,
        "tags": [TAG],
        "templating": {"list": variables},
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "",
        "title": title,
        "uid": uid,
        "weekStart": "",
    }


def _datasource() -> Json:
    return {
        "current": {},
        "hide": 0,
        "includeAll": False,
        "label": "Data source",
        "multi": False,
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
        "type": "datasource",
    }


def _variable(title: str, metric: str, label: str) -> Json:
    """A variable over the values that a label has; the ones before it narrow what it offers."""
    name = title.lower()
    narrowed = select(metric)
    # a variable that follows itself, or one behind it, would go in circles
    kept = [pair for pair in narrowed.partition("{")[2][:-1].split(",") if _comes_before(pair, name)]
    query = f"label_values({narrowed.partition('{')[0]}{{{','.join(kept)}}}, {label})"
    return {
        # unlike a list of all values, it matches series without the label too
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": DATASOURCE,
        "definition": query,
        "hide": 0,
        "includeAll": True,
        "label": title,
        "multi": True,
        "name": name,
        "options": [],
        "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        # 2: when the time range changes
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        # 1: by the alphabet
        "sort": 1,
        "type": "query",
    }


def _comes_before(pair: str, name: str) -> bool:
    order = ("instance", "tenant", "provider", "model")
    return order.index(pair.partition("$")[2].rstrip('"')) < order.index(name)


def _annotation(name: str, color: str, expression: str, title: str, tags: str, *, value_is_time: bool = False) -> Json:
    target: Json = {"editorMode": "code", "expr": expression, "range": True, "refId": "Anno"}
    annotation: dict[str, Any] = {
        "datasource": DATASOURCE,
        "enable": True,
        "expr": expression,
        "hide": False,
        "iconColor": color,
        "name": name,
        "tagKeys": tags,
        "target": target,
        "textFormat": "",
        "titleFormat": title,
    }
    if value_is_time:
        annotation["useValueForTime"] = True
    return annotation


def _other_dashboards() -> Json:
    return {
        "asDropdown": True,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "tags": [TAG],
        "targetBlank": False,
        "title": "AI Gateway",
        "tooltip": "The other dashboards, at the same time and with the same choices",
        "type": "dashboards",
        "url": "",
    }
