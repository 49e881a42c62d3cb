"""Writes the dashboards that Grafana loads: ``python -m deploy.grafana.generate``.

What they show stands in ``glance``, ``health``, ``streams``, ``saturation`` and ``levels``. Metric names and labels
come from the gateway's own declarations, the service levels from ``deploy/prometheus/generate.py``, the runbook from
``docs/runbook.md``: after a change in any of them, generate again.
The JSON is committed; a test generates it again and compares.
"""

import json
from pathlib import Path

from deploy.grafana.boards import dashboards

_HERE = Path(__file__).parent
FOLDER = _HERE / "dashboards"
RUNBOOK = _HERE.parent.parent / "docs" / "runbook.md"


def files() -> dict[str, str]:
    """The text of each dashboard's file, by the file's name.

    Raises:
        OSError: docs/runbook.md is missing.
    """
    generated = dashboards(RUNBOOK)
    return {name: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for name, content in generated.items()}


def write(folder: Path = FOLDER) -> None:
    """Write every dashboard to ``folder``, and remove those that are no more."""
    wanted = files()
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        (folder / name).write_text(content, "utf-8")


if __name__ == "__main__":
    write()
