"""The command line: what each command prints, and the exit status that scripts go by."""

import asyncio
import json
import re
import signal
import sys
from pathlib import Path

import pytest
from aiohttp.test_utils import unused_port

from gateway import __version__
from gateway.__main__ import main, run
from gateway.tenancy.tenants import hash_key
from tests.raw_client import RawClient
from tests.surface.front import ASK, CHAT
from tests.surface.process import gateway_command, running

GOOD = """
providers: {one: {dialect: openai, base_url: "http://127.0.0.1:9/v1", api_keys: ["${KEY:-sk-x}"]}}
models: {gpt-4o-mini: {targets: [one/gpt-4o-mini]}}
tenants: [{id: acme}]
"""
BAD = """
server: {prot: 8080, drain: 5}
providers: {one: {dialect: opnai, base_url: ftp://x}}
models: {m: {targets: [two/m]}}
tenants: [{id: ACME}]
"""


def written(folder: Path, text: str) -> str:
    path = folder / "gateway.yaml"
    path.write_text(text)
    return str(path)


def refused(*arguments: str) -> int | str | None:
    """The exit status with which the arguments themselves are refused."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return end.value.code


def test_check_accepts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0, and a line that counts."""
    assert main(["check", written(tmp_path, GOOD)]) == 0
    assert "is valid: 1 providers, 1 models, 1 tenants." in capsys.readouterr().out


def test_check_says_every_mistake_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2, and every mistake by its dotted key."""
    assert main(["check", written(tmp_path, BAD)]) == 2
    said = capsys.readouterr().err
    for key in ("server.prot", "server.drain", "providers.one.dialect", "providers.one.base_url", "models.m.targets.0"):
        assert key in said
    assert "tenants.0.id" in said
    assert re.search(r"server\.prot .*port", said)


def test_check_needs_something_to_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2 without a file, and with one that is not there."""
    assert main(["check"]) == 2
    assert "name a file" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "none.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON Schema of the whole file, for editors."""
    assert main(["check", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"server", "providers", "models", "tenants"} <= set(schema["properties"])


def test_keygen_s_pair_fits(capsys: pytest.CaptureFixture[str]) -> None:
    """The hash is that of the key, and no two runs make the same."""
    keys = []
    for _ in range(2):
        assert main(["keygen"]) == 0
        found = re.fullmatch(r"key:  (\S+)\nhash: (\S+)\n", capsys.readouterr().out)
        assert found is not None
        assert hash_key(found[1]) == found[2]
        keys.append(found[1])
    assert keys[0] != keys[1]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The package's own."""
    assert refused("--version") == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "required"),
        (("frob",), "invalid choice"),
        (("serve", "--port", "99999"), "is no port"),
        (("serve", "--port", "-1"), "is no port"),
        (("serve", "--port", "x"), "is no port"),
        (("serve", "--port", "٣"), "is no port"),
        (("simulate", "--port", "65536"), "is no port"),
        (("simulate", "--speed", "0"), "is no speed"),
        (("simulate", "--speed", "nan"), "is no speed"),
        (("simulate", "--speed", "fast"), "is no speed"),
        (("traffic", "--url", "127.0.0.1:8080"), "is no address"),
        (("traffic", "--play", "0"), "is no address"),
        (("traffic", "--rate", "0"), "is no number above 0"),
        (("traffic", "--for", "inf"), "is no number above 0"),
        (("traffic", "--for", "soon"), "is no number above 0"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """2 and a sentence, before anything starts."""
    assert refused(*arguments) == 2
    assert said in capsys.readouterr().err


def test_configuration_that_cannot_be_served_is_a_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same sentences as `check`."""
    assert main(["serve", "--config", written(tmp_path, BAD)]) == 2
    assert "providers.one.dialect" in capsys.readouterr().err


def test_without_uvloop_it_runs_and_warns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The warning says what it costs."""

    async def work() -> int:
        return 0 if isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop) else 1

    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert run(work()) == 0
    assert "300 KB" in capsys.readouterr().err


def test_with_uvloop_it_runs_on_it() -> None:
    """And its work's status is the process's."""

    async def work() -> int:
        return 7 if type(asyncio.get_running_loop()).__module__.startswith("uvloop") else 0

    assert run(work()) == 7


async def test_simulator_runs_alone(tmp_path: Path) -> None:
    """It says where, answers whoever asks, and ends with 0."""
    async with running(*gateway_command("simulate", "--port", "0", "--speed", "1000"), cwd=tmp_path) as process:
        line = await process.says("Anthropic dialect:", process.process.stdout)
        async with await RawClient.connect(line.split()[-1]) as client:
            await client.post(CHAT, {**ASK, "model": "sim-fast"})
            answer = await client.answer()
        assert answer.json()["choices"][0]["message"]["content"]
        process.process.send_signal(signal.SIGTERM)
        assert await process.ended() == 0


async def test_traffic_plays_the_providers(tmp_path: Path) -> None:
    """It says where, and a signal ends it with 0."""
    address = f"127.0.0.1:{unused_port()}"
    async with running(*gateway_command("traffic", "--play", address), cwd=tmp_path) as process:
        await process.says(f"Providers: {address}", process.process.stdout)
        async with await RawClient.connect(f"http://{address}") as client:
            await client.post(CHAT, {**ASK, "model": "sim-fast"})
            assert (await client.answer()).status == 200
        process.process.send_signal(signal.SIGINT)
        assert await process.ended() == 0


def test_traffic_needs_something_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """2 without a gateway and without providers."""
    assert main(["traffic"]) == 2
    assert "--url" in capsys.readouterr().err


async def test_address_that_is_none_is_a_1(tmp_path: Path) -> None:
    """What the machine cannot do is no mistake of the configuration."""
    async with running(*gateway_command("simulate", "--host", "192.0.2.1", "--port", "0"), cwd=tmp_path) as process:
        assert await process.ended() == 1
        assert "aigateway: " in process.lines[-1]
        assert not any("Traceback" in line for line in process.lines)


async def test_a_database_that_cannot_be_used_is_a_1(tmp_path: Path) -> None:
    """Its key is named, what the system said and what to do; nothing listens, and nothing is left of the start."""
    (tmp_path / "data").write_text("a file, where a directory should be")
    file = written(tmp_path, f"{GOOD}stores: {{database_url: 'sqlite:///data/gateway.db'}}\n")
    async with running(*gateway_command("serve", "--config", file, "--port", "0"), cwd=tmp_path) as process:
        assert await process.ended() == 1
        assert process.lines[-1].startswith("aigateway: stores.database_url: SQLite at data/gateway.db ")
        said = "\n".join(process.lines)
    assert "File exists" in said
    assert not any(word in said for word in ("Traceback", "listens on", "Unclosed", "never retrieved"))
