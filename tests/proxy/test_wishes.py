"""Headers with which a client asks something of the gateway itself."""

import pytest

from gateway.core.errors import GatewayError
from gateway.proxy.exchange import Exchange
from gateway.proxy.wishes import TAGS, TIMEOUT, Wishes
from tests.surface.exchanges import NOW_S, begun

CHAT = "/v1/chat/completions"
WISHES = Wishes(("team", "feature"))


def heeded(**headers: str) -> Exchange:
    exchange = begun(CHAT, {name.replace("_", "-"): value for name, value in headers.items()})
    WISHES.heed(exchange)
    return exchange


def test_without_wishes_nothing_changes() -> None:
    """The configured deadline, no tags."""
    exchange = heeded()
    assert (exchange.deadline, exchange.wished_s, exchange.tags) == (NOW_S + 60, None, "{}")


@pytest.mark.parametrize(("wish", "deadline"), [("5", NOW_S + 5), ("0.5", NOW_S + 0.5), ("600", NOW_S + 60)])
def test_a_deadline_is_only_lowered(wish: str, deadline: float) -> None:
    """Never raised above the configured one."""
    assert heeded(**{TIMEOUT: wish}).deadline == deadline


@pytest.mark.parametrize("wish", ["0", "-1", "nan", "inf", "1e3", "five", "", "\u0661", "1.2.3"])
def test_a_wrong_deadline_is_refused(wish: str) -> None:
    """Only plain numbers above 0."""
    with pytest.raises(GatewayError, match=f"{TIMEOUT} must be a number") as caught:
        heeded(**{TIMEOUT: wish})
    assert caught.value.code == "invalid_request"


@pytest.mark.parametrize(
    ("header", "tags"),
    [
        ("team=search", '{"team":"search"}'),
        (" team = a b , feature=x/y:1.0+z@host_-", '{"team":"a b","feature":"x/y:1.0+z@host_-"}'),
    ],
)
def test_tags_are_kept_as_json(header: str, tags: str) -> None:
    """As the ledger's row keeps them."""
    assert heeded(**{TAGS: header}).tags == tags


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("colour=red", "declared are: feature, team"),
        ("team", "must be NAME=VALUE"),
        ("team=", "must be NAME=VALUE"),
        ("", "must be NAME=VALUE"),
        ("team=a,team=b", "each name once"),
        ("team=a;drop", "must be NAME=VALUE"),
        ("team=" + "x" * 65, "1 to 64"),
        ('team="x"', "must be NAME=VALUE"),
        ("team=\u00e9", "must be NAME=VALUE"),
    ],
)
def test_wrong_tags_are_refused(header: str, why: str) -> None:
    """With what to write instead, and without their words in the answer."""
    with pytest.raises(GatewayError, match=why) as caught:
        heeded(**{TAGS: header})
    assert caught.value.code == "invalid_request"
    assert "drop" not in caught.value.message


def test_where_no_tag_is_declared_none_is_taken() -> None:
    """The answer names the key of the configuration."""
    with pytest.raises(GatewayError, match=r"`ledger\.tags`.*none is declared"):
        Wishes(()).heed(begun(CHAT, {TAGS: "team=a"}))
