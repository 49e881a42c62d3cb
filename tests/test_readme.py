"""The README's configuration is one: it loads as printed, but for the hash that nobody can print."""

import re
from pathlib import Path

from gateway.config import load

README = Path(__file__).parent.parent / "README.md"


def test_configuration_loads_as_printed(tmp_path: Path) -> None:
    """And says what the text around it says: two providers, a name, a pattern, a tenant."""
    printed = re.search(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert printed is not None
    file = tmp_path / "gateway.yaml"
    file.write_text(printed[1].replace("sha256:…", "sha256:" + "0" * 64), encoding="utf-8")
    config = load(file, {"OPENAI_API_KEY": "sk-example"})
    assert tuple(config.providers) == ("openai", "local")
    assert config.models.names() == ("gpt-4o-mini", "llama-*")
    assert [tenant.id for tenant in config.tenants] == ["acme"]
