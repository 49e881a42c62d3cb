"""Panels as JSON, and where they stand."""

from deploy.grafana.kinds import Column, lines, stat, states, table, text
from deploy.grafana.panels import Panel, placed


def panel(title: str, width: int, height: int = 4) -> Panel:
    """A panel of some size."""
    return text(title, "A panel of words for a test.", "Words.", width=width, height=height)


def test_panels_stand_side_by_side_until_the_line_is_full() -> None:
    """A line is as high as its highest panel; a row's heading takes a line."""
    rows = [("One", [panel("a", 12), panel("b", 12, 6), panel("c", 8)]), ("", [panel("d", 24)])]
    spots = [(p["id"], p["title"], *p["gridPos"].values()) for p in placed(rows)]
    assert spots == [
        (1, "One", 1, 24, 0, 0),
        (2, "a", 4, 12, 0, 1),
        (3, "b", 6, 12, 12, 1),
        (4, "c", 4, 8, 0, 7),
        (5, "d", 4, 24, 0, 11),
    ]


def test_descriptions_say_what_is_followed() -> None:
    """The variables of all queries of a panel, in the order in which they stand on the dashboard."""
    shown = lines("T", "About.", {"a": 'x{model=~"$model"}', "b": 'y{instance=~"$instance"}[$__range]'}, "s")
    assert shown.json(1, 0, 0)["description"] == "About.\n\nFollows: instance, model."
    assert stat("T", "About.", "up", "none").json(1, 0, 0)["description"].endswith("Follows: no variable.")


def test_nan_and_nothing_read_no_traffic() -> None:
    """In every kind that shows numbers."""
    defaults = stat("T", "About.", "up", "s").json(1, 0, 0)["fieldConfig"]["defaults"]
    assert defaults["noValue"] == "No traffic"
    assert defaults["mappings"][-1]["options"] == {"match": "null+nan", "result": {"index": 100, "text": "No traffic"}}


def test_states_have_words_and_colours() -> None:
    """As thresholds and as mapping, whatever the order in which they are given."""
    shown = states("T", "About.", {"a": "up"}, ((1, "Up", "green"), (0, "Down", "red"))).json(1, 0, 0)
    defaults = shown["fieldConfig"]["defaults"]
    assert defaults["thresholds"]["steps"] == [{"color": "red", "value": None}, {"color": "green", "value": 1}]
    assert defaults["mappings"][0]["options"]["0"] == {"color": "red", "index": 1, "text": "Down"}


def test_a_table_names_and_orders_its_columns() -> None:
    """Grafana calls the columns of several queries ``Value #A`` and so on, that of one ``Value``."""
    two = table("T", "About.", {"tenant_id": "Tenant"}, (Column("Cost", "x", "currencyUSD"), Column("Rate", "y", "s")))
    merge, organize = two.transformations
    assert merge["id"] == "merge"
    assert organize["options"]["renameByName"] == {"tenant_id": "Tenant", "Value #A": "Cost", "Value #B": "Rate"}
    assert organize["options"]["indexByName"] == {"tenant_id": 0, "Value #A": 1, "Value #B": 2}
    assert [override["matcher"]["options"] for override in two.overrides] == ["Cost", "Rate"]
    (alone,) = table("T", "About.", {}, (Column("Cost", "x", "s"),)).transformations
    assert alone["options"]["renameByName"] == {"Value": "Cost"}


def test_a_link_picks_one_value_and_keeps_the_rest() -> None:
    """The other variables and the time stay as they are."""
    linked = lines("T", "About.", {"{{tenant_id}}": "x"}, "s").linking("tenant_id")
    (link,) = linked.json(1, 0, 0)["fieldConfig"]["defaults"]["links"]
    assert link["url"] == (
        "/d/aigateway?var-tenant=${__field.labels.tenant_id}&${datasource:queryparam}&${instance:queryparam}"
        "&${provider:queryparam}&${model:queryparam}&${__url_time_range}"
    )
    cells = table("T", "About.", {"model": "Model"}, (Column("Cost", "x", "s"),)).linking("model", column="Model")
    assert cells.overrides[-1]["matcher"] == {"id": "byName", "options": "Model"}
    assert "var-model=${__value.text}" in cells.overrides[-1]["properties"][0]["value"][0]["url"]
