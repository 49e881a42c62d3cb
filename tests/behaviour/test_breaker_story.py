"""Circuits as clients, operators and providers see them: when they open, what that spares, how they close again.

Long because what is promised of circuits is told in one place, in the order in which it happens.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway import app
from gateway.config import load
from gateway.core.breaker import State, Transition
from gateway.core.outcome import Verdict
from gateway.core.routing import Target
from gateway.simulator import Simulator, SimulatorSettings
from gateway.simulator import start as simulate
from gateway.upstream.provider import Provider
from gateway.upstream.settings import PoolSettings, ProviderSettings
from gateway.upstream.targets import Targets, Turn
from tests.behaviour.conftest import MakeStage
from tests.behaviour.stage import CHAT, MESSAGES, Stage, asking, hear, until_heard
from tests.conftest import with_database
from tests.provider_answers import openai_answer, openai_error, openai_stream
from tests.raw_client import Answer, RawClient, json_request_wire, request_wire
from tests.upstream.passing import HandClock
from tests.upstream_script import Script, flat, reached, reset, wait

ONCE = "breaker: {}"
"""Default circuits; nothing is asked twice, so that one request is one failure."""

FAILS: Script = openai_error(500)
ANSWERS: Script = openai_answer()
COOLED_DOWN_S = 11.01
"""The first rest with the most that chance adds to it, and a moment."""

CHANGES = "circuit_breaker_transitions_total"
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "two-providers.yaml"
SESSION = ROOT / "docs" / "life-of-a-request.md"


def circuit(stage: Stage, provider: str = "one") -> State:
    """The state that the metric shows."""
    return State(int(stage.value("circuit_breaker_state", provider=provider)))


def changes(stage: Stage, provider: str = "one") -> dict[tuple[str, str], float]:
    """How often the provider's circuits changed, by what they changed to and why."""
    found = {}
    for labels in stage.scrape().series(f"aigateway_{CHANGES}"):
        value = stage.value(CHANGES, **labels)
        if labels["provider"] == provider and value:
            found[labels["to"], labels["reason"]] = value
    return found


async def page(stage: Stage, path: str) -> Answer:
    """What an operator reads."""
    client = await stage.client()
    await client.send(request_wire("GET", path, ("Host", "gateway")))
    answer = await client.answer()
    await client.abort()
    return answer


async def provider_of(stage: Stage) -> str | None:
    """Ask for a whole answer and say who gave it."""
    answer = await stage.answer()
    assert answer.status == 200
    return answer.head.get("x-gateway-provider")


async def cut_off(stage: Stage, clock: HandClock) -> None:
    """Let the first provider fail until its circuit opens."""
    stage.upstream.always(FAILS)
    while circuit(stage) is State.CLOSED:
        await stage.answer()
    clock.now += 0.01


@pytest.fixture
def hand() -> HandClock:
    """The gateway's clock."""
    clock = HandClock()
    clock.now = 1000.0
    return clock


async def test_five_failures_and_it_is_left_alone(make_stage: MakeStage, hand: HandClock) -> None:
    """A provider that fails every request gets five; whoever comes then goes straight to the next one."""
    stage = await make_stage(two=True, provider=ONCE, start={"clock": hand})
    assert stage.second is not None
    stage.upstream.always(FAILS)
    stage.second.always(ANSWERS)
    for asked in range(1, 6):
        assert circuit(stage) is State.CLOSED
        assert await provider_of(stage) == "two"
        assert len(stage.upstream.requests) == asked
    assert circuit(stage) is State.OPEN
    for _ in range(20):
        answer = await stage.answer()
        assert (answer.head.get("x-gateway-provider"), answer.head.get("x-gateway-attempts")) == ("two", "1")
    assert len(stage.upstream.requests) == 5
    assert changes(stage) == {("open", "consecutive_failures"): 1}
    assert stage.value("fallbacks_total", to="two", reason="provider_error") == 5
    assert stage.value("fallbacks_total", to="two", reason="circuit_open") == 20
    assert 10 <= stage.value("circuit_breaker_next_probe_seconds", provider="one") <= 11
    told = (await page(stage, "/health")).json()["providers"]["one"]["gpt"]
    assert (told["circuit"], told["failures"]) == ("open", 5)


async def test_failures_after_a_success_take_a_second(make_stage: MakeStage, hand: HandClock) -> None:
    """Five failures are bad luck while the last success is fresh; when it is a second old, they are an outage."""
    stage = await make_stage(two=True, provider=ONCE, start={"clock": hand})
    assert stage.second is not None
    stage.second.always(ANSWERS)
    stage.upstream.next(ANSWERS)
    stage.upstream.always(FAILS)
    assert await provider_of(stage) == "one"
    for _ in range(9):
        hand.now += 0.1
        await stage.answer()
        assert circuit(stage) is State.CLOSED
    hand.now += 0.1
    await stage.answer()
    assert circuit(stage) is State.OPEN


async def test_what_is_nobodys_failure_opens_nothing(make_stage: MakeStage, hand: HandClock) -> None:
    """Clients' faults, throttling and clients that leave: however many, the provider is asked on."""
    stage = await make_stage(provider=ONCE, start={"clock": hand})
    for script, status in (
        (openai_error(400), 400),
        (openai_error(422), 422),
        (openai_error(503, ("Retry-After", "1")), 429),
    ):
        for _ in range(25):
            stage.upstream.next(script)
            assert (await stage.answer()).status == status
            hand.now += 1.01  # what a throttled target rests
    never = asyncio.Event()
    for _ in range(25):
        there = asyncio.Event()
        stage.upstream.next([*flat(openai_stream())[:3], reached(there), wait(never), *flat(openai_stream())[3:]])
        client = await stage.ask()
        await there.wait()
        await client.answer_head()
        await client.reset()
        await stage.settled()
    assert stage.ended_as("client_closed") == 25
    assert (circuit(stage), changes(stage)) == (State.CLOSED, {})


async def test_nobody_waits_for_an_open_circuit(
    make_stage: MakeStage, hand: HandClock, soaking: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """With nowhere else to go a request is refused at once, told when to come back, and reaches no provider.

    At full size: within 5 ms; the median is held to it and the tail printed, because a test shares its machine.
    """
    stage = await make_stage(provider=ONCE, start={"clock": hand})
    await cut_off(stage, hand)
    assert (await stage.answer()).status == 502, "the first one is the last resort's probe"
    asked, client, took_ms = len(stage.upstream.requests), await stage.client(), []
    for _ in range(1000 if soaking else 10):
        for _stream in (True, False):
            begun = time.perf_counter()
            await client.send(asking(CHAT, stream=_stream))
            answer = await client.answer()
            took_ms.append((time.perf_counter() - begun) * 1000)
            assert (answer.status, answer.json()["error"]["code"]) == (503, "circuit_open")
            assert answer.head.get("retry-after") == "10"
    assert len(stage.upstream.requests) == asked
    assert stage.ended_as("circuit_open") == len(took_ms)
    if soaking:
        took_ms.sort()
        figures = [took_ms[len(took_ms) * part // 1000] for part in (500, 990, 999)]
        with capsys.disabled():
            print("\nopen circuit, at the client: p50 {:.2f} ms, p99 {:.2f} ms, p99.9 {:.2f} ms".format(*figures))
        assert figures[0] <= 5


async def test_the_refusal_is_in_the_clients_words(make_stage: MakeStage, hand: HandClock) -> None:
    """Anthropic's clients read theirs."""
    stage = await make_stage(provider=ONCE, start={"clock": hand})
    stage.upstream.always(FAILS)
    while stage.value("circuit_breaker_state", provider="claude") != State.OPEN:
        await stage.answer(MESSAGES)
    await stage.answer(MESSAGES)
    refusal = await stage.answer(MESSAGES)
    assert (refusal.status, refusal.json()["error"]["type"]) == (503, "overloaded_error")
    assert refusal.head.get("retry-after") == "10"
    assert circuit(stage, "one") is State.CLOSED, "a circuit is one model's at one provider"


async def test_the_first_good_probe_closes_it(make_stage: MakeStage, hand: HandClock) -> None:
    """After the rest one request tries, while all others go elsewhere; its first content closes the circuit."""
    stage = await make_stage(two=True, provider=ONCE, start={"clock": hand})
    assert stage.second is not None
    stage.second.always(ANSWERS)
    await cut_off(stage, hand)
    hand.now += COOLED_DOWN_S
    assert circuit(stage) is State.HALF_OPEN
    there, answer, goes_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    stream = flat(openai_stream())
    stage.upstream.next([stream[0], reached(there), wait(answer), *stream[1:3], wait(goes_on), *stream[3:]])
    probe = await stage.ask()
    await there.wait()
    asked = len(stage.upstream.requests)
    for _ in range(10):
        assert await provider_of_another(stage) == "two"
    assert (len(stage.upstream.requests), circuit(stage)) == (asked, State.HALF_OPEN)
    answer.set()
    await probe.answer_head()
    await until_heard(probe, b"word 0")
    assert circuit(stage) is State.CLOSED, "the stream still runs"
    stage.upstream.always(ANSWERS)
    assert await provider_of_another(stage) == "one"
    goes_on.set()
    assert b"[DONE]" in await until_heard(probe, b"[DONE]")
    await stage.settled()
    assert changes(stage) == {
        ("open", "consecutive_failures"): 1,
        ("half_open", "cooled_down"): 1,
        ("closed", "probe_succeeded"): 1,
    }


async def provider_of_another(stage: Stage) -> str | None:
    """The same while another request still runs."""
    client = await stage.ask(stream=False)
    answer = await client.answer()
    await client.abort()
    return answer.head.get("x-gateway-provider")


async def test_a_probe_that_breaks_later_is_a_new_failure(make_stage: MakeStage, hand: HandClock) -> None:
    """Its content has closed the circuit; the break behind it counts as one failure of a closed one."""
    stage = await make_stage(two=True, provider=ONCE, start={"clock": hand})
    assert stage.second is not None
    stage.second.always(ANSWERS)
    await cut_off(stage, hand)
    hand.now += COOLED_DOWN_S
    stage.upstream.next([*flat(openai_stream())[:4], reset()])
    heard = await stage.hear()
    assert b'"truncated"' in heard.body
    told = (await page(stage, "/health")).json()["providers"]["one"]["gpt"]
    assert (told["circuit"], told["failures"]) == ("closed", 1)


async def test_a_failed_probe_doubles_the_rest(make_stage: MakeStage, hand: HandClock) -> None:
    """The client of the probe is served by the next provider; the circuit rests twice as long."""
    stage = await make_stage(two=True, provider=ONCE, start={"clock": hand})
    assert stage.second is not None
    stage.second.always(ANSWERS)
    await cut_off(stage, hand)
    for rest_s in (10, 20, 40):
        assert rest_s * 0.99 <= stage.value("circuit_breaker_next_probe_seconds", provider="one") <= rest_s * 1.1
        hand.now += rest_s * 1.1
        assert circuit(stage) is State.HALF_OPEN
        assert await provider_of(stage) == "two"
        assert circuit(stage) is State.OPEN
    assert changes(stage)["open", "probe_failed"] == 3


async def test_the_last_resort(make_stage: MakeStage, hand: HandClock) -> None:
    """Where every circuit is open each may be tried once before its time; if somebody is well again, all is well."""
    stage = await make_stage(two=True, provider=ONCE, start={"clock": hand})
    assert stage.second is not None
    stage.second.always(FAILS)
    await cut_off(stage, hand)
    while circuit(stage, "two") is State.CLOSED:
        await stage.answer()
    stage.upstream.always(ANSWERS)
    failing = len(stage.second.requests)
    answers = [await stage.answer() for _ in range(2)]
    assert answers[1].status == 200, "the first of them may have tried the other one"
    assert len(stage.second.requests) - failing == (0 if answers[0].status == 200 else 1)
    assert await provider_of(stage) == "one"
    assert (circuit(stage), circuit(stage, "two")) == (State.CLOSED, State.OPEN)
    assert changes(stage)["half_open", "last_resort"] == 1


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A provider with default settings; nobody asks it over a network."""
    settings = ProviderSettings(dialect="openai", base_url="http://127.0.0.1:1/v1", pool=PoolSettings(warm=0))
    made = Provider("one", settings, spliced=False, clock=time.monotonic)
    yield made
    await made.close()


def calls_until_open(provider: Provider, share: float, rate_per_s: float, calls: int, seed: int) -> int | None:
    """Ask a target so often, at so many calls a second of which so large a share fails; None if it is never cut off."""
    clock, dice, seen = HandClock(), random.Random(seed), list[Transition]()
    targets = Targets({"one": provider}, [("one", "gpt")], clock, dice.random, lambda *told: seen.append(told[2]))
    state = targets.of(Target("one", "gpt", circuit="gpt"))
    for number in range(calls):
        clock.now = number / rate_per_s
        turn = state.take_turn(60)
        assert isinstance(turn, Turn)
        turn.end(Verdict.FAILURE if dice.random() < share else Verdict.SUCCESS)
        if seen:
            return number + 1
    return None


@pytest.mark.parametrize("rate_per_s", [8, 20, 100])
async def test_a_limping_provider_is_kept(provider: Provider, rate_per_s: float) -> None:
    """Of targets of which 30 % of the calls fail, at most every tenth is cut off within 1,000 calls."""
    runs = [calls_until_open(provider, 0.3, rate_per_s, 1000, seed) for seed in range(200)]
    assert sum(run is not None for run in runs) <= 20


@pytest.mark.parametrize("rate_per_s", [1, 8, 20, 100])
async def test_a_provider_that_mostly_fails_is_not(provider: Provider, rate_per_s: float) -> None:
    """Of those of which 70 % fail, every one is cut off within 50 calls."""
    runs = [calls_until_open(provider, 0.7, rate_per_s, 50, seed) for seed in range(200)]
    assert None not in runs


@pytest.fixture
async def simulators() -> AsyncIterator[list[Simulator]]:
    """Two simulated providers, a thousand times as fast as real."""
    running = [await simulate(settings=SimulatorSettings(speed=1000)) for _ in range(2)]
    yield running
    for simulator in running:
        await simulator.close()


async def test_the_newcomers_session(
    simulators: list[Simulator], tmp_path: Path, hand: HandClock, new_database: Callable[[], str]
) -> None:
    """The example of the documentation loads, and what is written about it happens: kill, open, restart, closed."""
    ports = [int(simulator.base_url.rpartition(":")[2]) for simulator in simulators]
    text = EXAMPLE.read_text("utf-8")
    for written, port in zip(("9001", "9002"), ports, strict=True):
        assert text.count(f"127.0.0.1:{written}/") == 1
        text = text.replace(f":{written}/", f":{port}/")
    file = tmp_path / "gateway.yaml"
    file.write_text(with_database(text, new_database()), "utf-8")
    (key,) = re.findall(r"The key is (\S+)\.", text)
    session = SESSION.read_text("utf-8")
    assert all(word in session for word in ("simulate --port 9001 &", "simulate --port 9002 &", f"Bearer {key}'"))
    assert f"serve --config {EXAMPLE.relative_to(ROOT)}" in session
    gateway = await app.start(load(file, {}), port=0, access_log=None, clock=hand)

    async def ask() -> tuple[str | None, str | None]:
        async with await RawClient.connect(gateway.url) as client:
            document = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}
            await client.send(json_request_wire(CHAT, document, ("Authorization", f"Bearer {key}")))
            heard = await hear(client)
            assert (heard.status, "content" in json.loads(heard.body)["choices"][0]["message"]) == (200, True)
            return heard.head.get("x-gateway-provider"), heard.head.get("x-gateway-attempts")

    def shown() -> list[str]:
        lines = gateway.metrics.render()[0].decode().splitlines()
        return [line for line in lines if line.startswith("aigateway_circuit_breaker_state{")]

    try:
        assert await ask() == ("one", "1")
        await simulators[0].close()
        hand.now += 1
        for _ in range(5):
            assert await ask() == ("two", "2")
        assert await ask() == ("two", "1")
        assert shown() == [
            f'aigateway_circuit_breaker_state{{provider="{p}"}} {s}' for p, s in (("one", 2), ("two", 0))
        ]
        simulators[0] = await simulate(port=ports[0], settings=SimulatorSettings(speed=1000))
        hand.now += COOLED_DOWN_S
        assert await ask() == ("one", "1")
        assert shown()[0].endswith(" 0")
    finally:
        await gateway.close()
