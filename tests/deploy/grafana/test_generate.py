"""The committed dashboards are what the generator writes."""

from pathlib import Path

import pytest

from deploy.grafana import generate


def test_the_committed_files_are_up_to_date() -> None:
    """If not: ``python -m deploy.grafana.generate``."""
    committed = {path.name: path.read_text("utf-8") for path in generate.FOLDER.iterdir()}
    assert generate.files() == committed


def test_writing_leaves_nothing_old_behind(tmp_path: Path) -> None:
    """A dashboard that is no more would stay in Grafana for ever."""
    (tmp_path / "gone.json").write_text("{}")
    generate.write(tmp_path)
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == generate.files()


def test_without_a_runbook_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the dashboards would be worse than none."""
    monkeypatch.setattr(generate, "RUNBOOK", tmp_path / "runbook.md")
    with pytest.raises(FileNotFoundError, match=r"runbook\.md"):
        generate.write(tmp_path)
    assert list(tmp_path.iterdir()) == []
