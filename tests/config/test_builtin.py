"""Without a file there is a demo, and the real providers whose keys are set."""

import pytest

from gateway.admin.settings import AdminSettings
from gateway.config import DEMO_KEY, Config, ConfigError, demo
from gateway.core.pricing import cost_nanousd
from gateway.core.tokens import Usage
from gateway.tenancy.tenants import Tenants


def built_in(environ: dict[str, str]) -> Config:
    """The demo in front of a simulator on port 9."""
    return demo(
        environ,
        simulator_base="http://127.0.0.1:9",
        openai_models=["sim-fast", "sim-500"],
        anthropic_models=["claude-sim-fast"],
        local_key="agw-local",
    )


def test_the_simulator_needs_no_key() -> None:
    """Every simulated model in its dialect, priced, under the fixed key and nothing else."""
    config = built_in({"OPENAI_API_KEY": ""})
    assert {name: p.base_url for name, p in config.providers.items()} == {
        "demo": "http://127.0.0.1:9/v1",
        "demo-anthropic": "http://127.0.0.1:9",
    }
    assert config.models.names() == ("sim-fast", "sim-500", "claude-sim-fast")
    for name, dialect in [("sim-fast", "openai"), ("claude-sim-fast", "anthropic")]:
        route = config.models.resolve(name)
        assert route is not None
        assert (route.dialect, route.targets[0].model) == (dialect, name)
        assert route.targets[0].price is not None
        assert cost_nanousd(Usage(input=100, output=100), route.targets[0].price) > 0
    assert [tenant.id for tenant in config.tenants] == ["demo"]


def test_a_key_in_the_environment_adds_its_provider() -> None:
    """Real models under a key of their own; the demo key still reaches the simulator only."""
    config = built_in({"OPENAI_API_KEY": "sk-a", "ANTHROPIC_API_KEY": "sk-b"})
    assert config.providers["openai"].base_url == "https://api.openai.com/v1"
    assert config.providers["anthropic"].base_url == "https://api.anthropic.com"
    for asked, provider in [
        ("gpt-4o-mini", "openai"),
        ("o3", "openai"),
        ("chatgpt-4o-latest", "openai"),
        ("text-embedding-3-small", "openai"),
        ("claude-sonnet-4-5", "anthropic"),
        ("claude-sim-fast", "demo-anthropic"),
    ]:
        route = config.models.resolve(asked)
        assert route is not None
        assert (route.targets[0].provider, route.targets[0].model) == (provider, asked)
        assert route.targets[0].price is not None
    tenants = Tenants(config.tenants, lambda: 0.0)
    guest, owner = tenants.authenticate(DEMO_KEY).tenant, tenants.authenticate("agw-local").tenant
    assert guest.may_use("sim-500") and not guest.may_use("gpt-4o-mini")
    assert owner.may_use("gpt-4o-mini") and owner.may_use("sim-500")


def test_an_unpriced_real_model_stays_refused() -> None:
    """Nothing is spent that cannot be counted."""
    route = built_in({"OPENAI_API_KEY": "sk-a"}).models.resolve("gpt-unheard-of")
    assert route is not None and route.targets[0].price is None


def test_the_admin_api_opens_with_a_variable() -> None:
    """Where there is no file to write keys into; without one it stays closed."""
    assert built_in({}).admin == AdminSettings()
    admin = built_in({"ADMIN_KEY": "admin-0123456789", "VIEWER_KEY": "viewer-0123456789"}).admin
    assert admin.key is not None and admin.key.get_secret_value() == "admin-0123456789"
    assert admin.viewer_key is not None and admin.viewer_key.get_secret_value() == "viewer-0123456789"
    with pytest.raises(ConfigError, match=r"admin\.key: must be 16 to 512"):
        built_in({"ADMIN_KEY": "short"})


def test_a_variable_that_can_be_no_key_is_told() -> None:
    """By the key of the configuration, without its value."""
    with pytest.raises(ConfigError, match=r"providers\.openai\.api_keys\.0: must be printable") as refusal:
        built_in({"OPENAI_API_KEY": "sk-se cret"})
    assert "cret" not in str(refusal.value).replace("secret", "")
