"""The README's configuration is one: it loads as printed, but for the hash that nobody can print."""

import re
from pathlib import Path

from gateway.config import Config, load

README = Path(__file__).parent.parent / "README.md"


def printed(directory: Path, number: int) -> Config:
    """One of the README's configurations, in the order in which they stand there."""
    blocks = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    file = directory / "gateway.yaml"
    file.write_text(blocks[number].replace("sha256:…", "sha256:" + "0" * 64), encoding="utf-8")
    return load(file, {"OPENAI_API_KEY": "sk-example", "AZURE_API_KEY": "example"})


def test_two_providers_load_as_printed(tmp_path: Path) -> None:
    """The one on outages: one model, two places that serve it."""
    route = printed(tmp_path, 0).models.resolve("gpt-4o-mini")
    assert route is not None
    assert [target.provider for target in route.targets] == ["openai", "azure"]


def test_configuration_loads_as_printed(tmp_path: Path) -> None:
    """And says what the text around it says: two providers, a name, a pattern, a tenant."""
    config = printed(tmp_path, 1)
    assert tuple(config.providers) == ("openai", "local")
    assert config.models.names() == ("gpt-4o-mini", "llama-*")
    assert [tenant.id for tenant in config.tenants] == ["acme"]
