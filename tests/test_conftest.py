"""The watches watch: a test that leaves something behind, or hangs, fails, and so does a session that skips in CI."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import MakeGateway

ROOT = Path(__file__).parent.parent

LEAKY = """
import asyncio, socket
import pytest
import tests.conftest

kept = []


@pytest.fixture(autouse=True, scope="module")
def impatient():
    tests.conftest.TEST_PATIENCE_S = tests.conftest.LEAK_PATIENCE_S = 0.2


async def test_leaves_a_task():
    kept.append(asyncio.create_task(asyncio.Event().wait(), name="forgotten"))


async def test_leaves_a_socket():
    kept.append(socket.create_server(("127.0.0.1", 0)))


async def test_hangs():
    await asyncio.Event().wait()


async def test_cleans_up():
    task = asyncio.create_task(asyncio.Event().wait())
    with socket.create_server(("127.0.0.1", 0)):
        task.cancel()


def test_has_no_loop():
    pass
"""


HOLDING = """
import asyncio
import pytest
import tests.conftest
from tests.raw_client import RawClient, json_request_wire
from tests.simulator.conftest import simulate
from gateway.simulator import SimulatorSettings
from gateway.tenancy.tenants import hash_key
from tests.upstream_script import CHUNKED, SSE, event, head, stall

CONFIG = '''
providers: {one: {dialect: openai, base_url: "%s", api_keys: [sk-1], pool: {warm: 0}}}
models: {gpt: {targets: [one/gpt], price: {input: 1, output: 1}}}
tenants: [{id: acme, keys: [{id: web, hash: "%s"}]}]
'''
SAID = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}
kept = []


@pytest.fixture(autouse=True, scope="module")
def impatient():
    tests.conftest.LEAK_PATIENCE_S = 0.2


async def ask(url, model):
    client = await RawClient.connect(url)
    kept.append(client)
    asked = {"model": model, "stream": True, "messages": [{"role": "user", "content": "x"}]}
    await client.send(json_request_wire("/v1/chat/completions", asked, ("Authorization", "Bearer agw-x")))
    await client.answer_head()


@pytest.mark.parametrize("spliced", [True, False])
async def test_holds_a_stream(upstream, make_gateway, spliced):
    upstream.always([head(200, SSE, CHUNKED), event(SAID), stall()])
    start = {"spliced": spliced, "access_log": None}
    gateway = await make_gateway(CONFIG % (upstream.openai_base, hash_key("agw-x")), start=start)
    await ask(gateway.url, "gpt")
    assert False, "while a stream stalls"


async def test_holds_an_answer(simulate):
    simulator = await simulate(SimulatorSettings(speed=1000))
    await ask(simulator.base_url, "sim-stall")
    assert False, "while the simulator stalls"


async def test_comes_after():
    pass
"""

SKIPPING = """
import pytest


def test_runs():
    pass


@pytest.mark.skip(reason="no time")
def test_is_skipped():
    pass


def test_skips_itself():
    pytest.skip("no promtool")


@pytest.mark.xfail(reason="known", strict=True)
def test_fails_as_known():
    assert False
"""


def session(folder: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """Runs the tests of a folder as those of this one are run; ``CI`` is not set unless given."""
    config = ["-c", str(ROOT / "setup.cfg"), "-p", "tests.conftest", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *config, "-q", str(folder)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "CI"} | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_failure_that_holds_connections_does_not_hang(tmp_path: Path) -> None:
    """Whatever still streams is closed at once, what the test kept is dropped, and the next test finds nothing."""
    (tmp_path / "test_holding.py").write_text(HOLDING)
    run = session(tmp_path)
    assert "3 failed, 1 passed, 3 errors" in run.stdout, run.stdout + run.stderr
    assert run.stdout.count("\nthe test left behind: <socket") == 3
    assert "did not close" not in run.stdout
    assert "unclosed" not in run.stdout + run.stderr


@pytest.mark.parametrize(("env", "status"), [({}, 0), ({"CI": "true"}, 1)], ids=["here", "in CI"])
def test_skips_fail_the_session_in_ci(tmp_path: Path, env: dict[str, str], status: int) -> None:
    """Every test and module that was skipped is named with its reason; expected failures are no skips."""
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    (tmp_path / "test_elsewhere.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    run = session(tmp_path, **env)
    assert run.returncode == status, run.stdout + run.stderr
    assert "1 passed, 3 skipped, 1 xfailed" in run.stdout
    _, heading, listed = run.stdout.partition("skipped, which CI does not allow")
    assert bool(heading) is bool(status)
    if status:
        lines = [line.partition("::")[2] or line for line in listed.splitlines() if ": Skipped: " in line]
        assert len(lines) == 3
        assert "test_elsewhere.py: Skipped: could not import 'no_such_module'" in lines[0]
        assert lines[1:] == ["test_is_skipped: Skipped: no time", "test_skips_itself: Skipped: no promtool"]


def test_a_session_without_skips_passes_in_ci(tmp_path: Path) -> None:
    """And says nothing of skips."""
    (tmp_path / "test_plain.py").write_text("def test_runs():\n    pass\n")
    run = session(tmp_path, CI="true")
    assert run.returncode == 0
    assert "CI does not allow" not in run.stdout


async def test_every_gateway_has_a_database_of_its_own(make_gateway: MakeGateway, tmp_path: Path) -> None:
    """In the test's directory, unless its file says where."""
    named = f"stores: {{database_url: 'sqlite:///{tmp_path}/named.db'}}"
    gateways = [await make_gateway(text) for text in ("tenants: []", "tenants: []", named)]
    paths = [urlsplit(one.config.stores.database_url.get_secret_value()).path[1:] for one in gateways]
    assert len(set(paths)) == 3
    assert paths[2] == f"{tmp_path}/named.db"
    for path in map(Path, paths):
        assert path.parent == tmp_path
        assert path.exists()


@pytest.mark.parametrize(("env", "same"), [({}, False), ({"CI": "true"}, True)], ids=["here", "in CI"])
def test_ci_tries_the_same_examples_each_time(env: dict[str, str], same: bool) -> None:
    """Elsewhere every run tries others; nowhere has an example a deadline."""
    asked = (
        "import tests.conftest; from hypothesis import settings as s; print(s.default.derandomize, s.default.deadline)"
    )
    said = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "CI"} | env,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert said.stdout.split() == [str(same), "None"]


def test_leftovers_fail_the_test_and_are_named(tmp_path: Path) -> None:
    """A task, a socket and a hanging wait fail their tests; a test that cleans up passes."""
    (tmp_path / "test_leaky.py").write_text(LEAKY)
    run = session(tmp_path)
    assert "task forgotten" in run.stdout, run.stdout + run.stderr
    assert "laddr=('127.0.0.1'" in run.stdout
    assert "the test took more than 0.2 s" in run.stdout
    assert "1 failed, 4 passed, 2 errors" in run.stdout
