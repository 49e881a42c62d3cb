"""Reading the configuration again: what is taken, what is refused, and who hears of it."""

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.admin.configuration import ConfigRefused
from gateway.config import Config, ConfigError, Mistake, changes, refuse_fixed
from gateway.metrics import Metrics
from gateway.reloading import ConfigSource, Reloading

WALL_S = 1_800_000_000.25
MINIMAL = "server: {deadline_s: 30}\n"


class HandGateway:
    """Stands for a gateway: goes by whatever it is given."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.reloads = 0

    def reload(self, config: Config) -> list[str]:
        changed = changes(self.config, config)
        refuse_fixed(changed, config.source)
        self.config = config
        self.reloads += 1
        return [str(change) for change in changed]


class House:
    """A file, a gateway that was started with it, and what it has counted."""

    def __init__(self, path: Path, check: Callable[[Config], None] = lambda _: None) -> None:
        self.path = path
        self.now = WALL_S
        self.applied: list[Config] = []
        self.write(MINIMAL)
        source = ConfigSource(path, {"TOKEN": "t" * 20}, check, self.applied.append)
        self.gateway = HandGateway(source.read())
        self.metrics = Metrics("i", "1")
        self.reloading = Reloading(self.gateway, source, self.metrics, lambda: self.now)

    def write(self, text: str) -> None:
        self.path.write_text(text)

    @property
    def counted(self) -> tuple[float, float]:
        """Reloads that were applied, and those that were refused."""
        results = self.metrics.declared.config_reloads
        return results.labels("applied").value, results.labels("refused").value


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Nothing has been reloaded yet."""
    return House(tmp_path / "gateway.yaml")


async def refused(house: House) -> list[dict[str, Any]]:
    """The mistakes of a reload that must be refused; everything is as it was."""
    before = house.gateway.config, dict(house.reloading.describe()), house.gateway.reloads
    with pytest.raises(ConfigRefused) as refusal:
        await house.reloading.reload()
    assert (house.gateway.config, dict(house.reloading.describe()), house.gateway.reloads) == before
    return [dict(mistake) for mistake in refusal.value.mistakes]


async def test_changed_file_is_taken(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """And the answer, the log, the metric and the description say so; the process around the gateway is told."""
    before = house.reloading.describe()
    assert before == {
        "source": str(house.path),
        "loaded_at": "2027-01-15T08:00:00.250+00:00",
        "digest": before["digest"],
    }
    house.write('server: {deadline_s: 31}\nops: {metrics_token: "${TOKEN}"}\n')
    house.now += 60
    with caplog.at_level(logging.INFO, "gateway"):
        told = await house.reloading.reload()
    assert told == {"changed": ["server.deadline_s changed", "ops.metrics_token changed"]}
    assert "read again: server.deadline_s changed, ops.metrics_token changed" in caplog.text
    assert "t" * 20 not in caplog.text
    after = house.reloading.describe()
    assert after["loaded_at"] == "2027-01-15T08:01:00.250+00:00"
    assert after["digest"] != before["digest"]
    assert (house.counted, house.applied) == ((1, 0), [house.gateway.config])


async def test_equal_file_is_taken_too(house: House) -> None:
    """It was asked for, so it is counted."""
    assert await house.reloading.reload() == {"changed": []}
    assert (house.counted, house.gateway.reloads) == ((1, 0), 1)


async def test_broken_file_changes_nothing(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Every mistake is logged and told, with its line and without a secret."""
    house.write('server: {deadline_s: 0}\nops: {metrics_token: "sk-with blank"}\nprovidres: {}\n')
    mistakes = await refused(house)
    assert [(mistake["key"], mistake["line"]) for mistake in mistakes] == [
        ("server.deadline_s", 1),
        ("ops.metrics_token", 2),
        ("providres", 3),
    ]
    assert mistakes[0]["message"].endswith("; found 0")
    assert "providers" in f"{mistakes[2]['message']} {mistakes[2]['hint']}"
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [
        f"the configuration is not taken: {key} (line" in line
        for key, line in zip(("server.deadline_s", "ops.metrics_token", "providres"), errors, strict=True)
    ] == [True] * 3
    assert "with blank" not in caplog.text + str(mistakes)
    assert (house.counted, house.applied) == ((0, 1), [])


async def test_file_that_is_gone_changes_nothing(house: House) -> None:
    """Nor one that cannot be read."""
    house.path.unlink()
    assert "cannot be read" in (await refused(house))[0]["message"]
    house.path.mkdir()
    assert "cannot be read" in (await refused(house))[0]["message"]
    assert house.counted == (0, 2)


async def test_what_cannot_change_is_told_by_key(house: House) -> None:
    """As any mistake, though it stands in no line."""
    house.write("server: {deadline_s: 31, port: 1}\n")
    (mistake,) = await refused(house)
    assert (mistake["key"], mistake["line"]) == ("server.port", None)


async def test_what_the_process_cannot_do_is_refused(tmp_path: Path) -> None:
    """Its own check is made on each file, and on each text."""

    def check(config: Config) -> None:
        if config.server.deadline_s != 30:
            raise ConfigError(config.source, [Mistake("server.deadline_s", "is too much for this machine")])

    house = House(tmp_path / "gateway.yaml", check)
    house.write("server: {deadline_s: 31}\n")
    assert (await refused(house))[0]["message"] == "is too much for this machine"
    assert house.reloading.validate("server: {deadline_s: 31}") == [
        {"key": "server.deadline_s", "message": "is too much for this machine", "line": None, "hint": None}
    ]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (MINIMAL, []),
        ("", []),
        ('ops: {metrics_token: "${TOKEN}"}', []),
        ('ops: {metrics_token: "${NOT_SET}"}', ["ops.metrics_token"]),
        ("server: {port: 1}\nstores: {on_outage: deny}", ["server.port", "stores.on_outage"]),
        ("server: [", [""]),
    ],
    ids=["the same", "empty", "a variable", "a variable that is not set", "what is fixed", "no YAML"],
)
async def test_text_is_judged_as_a_reload_would(house: House, text: str, keys: list[str]) -> None:
    """Without taking it, counting it or logging it."""
    before = house.gateway.config
    assert [mistake["key"] for mistake in house.reloading.validate(text)] == keys
    assert (house.gateway.config, house.counted) == (before, (0, 0))


async def test_without_a_file_it_is_said(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """The built-in demo goes on; a text can be judged all the same."""
    reloading = Reloading(house.gateway, ConfigSource(), house.metrics, lambda: WALL_S)
    await reloading.again()
    assert "the file: does not exist: the gateway runs what is built in" in caplog.text
    assert "the gateway goes on with the configuration that it has" in caplog.text
    assert (house.gateway.reloads, reloading.validate(MINIMAL)) == (0, [])


async def test_signal_hears_nothing_of_a_refusal(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Nor of what nobody foresaw: the log has it, and the next signal is heard."""
    house.write("server: {deadline_s: 0}\n")
    await house.reloading.again()
    assert "server.deadline_s (line 1)" in caplog.text

    def fail(config: Config) -> list[str]:
        raise RuntimeError("nobody foresaw this")

    house.write(MINIMAL)
    good, house.gateway.reload = house.gateway.reload, fail  # type: ignore[method-assign]
    await house.reloading.again()
    assert "nobody foresaw this" in caplog.text
    house.gateway.reload = good  # type: ignore[method-assign]
    await house.reloading.again()
    assert house.counted == (1, 1)


async def test_reloads_come_one_after_the_other(tmp_path: Path) -> None:
    """The loop turns while a file is read; who asks meanwhile reads the file that is there then."""
    reading, both, go = threading.Event(), threading.Event(), threading.Event()

    def check(config: Config) -> None:
        if threading.current_thread() is not threading.main_thread():
            (both if reading.is_set() else reading).set()
            assert go.wait(30)

    house = House(tmp_path / "gateway.yaml", check)
    house.write("server: {deadline_s: 31}\n")
    first = asyncio.create_task(house.reloading.reload())
    await asyncio.to_thread(reading.wait, 30)
    second = asyncio.create_task(house.reloading.reload())
    house.write("server: {deadline_s: 32}\n")
    assert not await asyncio.to_thread(both.wait, 0.25)
    assert house.gateway.reloads == 0
    go.set()
    assert (await first, await second) == ({"changed": ["server.deadline_s changed"]},) * 2
    assert (house.gateway.config.server.deadline_s, house.gateway.reloads) == (32, 2)
