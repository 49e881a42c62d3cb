"""The configuration without a file: the simulator under a fixed key, real providers where theirs are set."""

from collections.abc import Iterable, Mapping

from gateway.config.assembly import Config, assemble
from gateway.config.document import Document
from gateway.tenancy.tenants import hash_key

DEMO_KEY = "gw-demo"
"""Reaches the simulator and nothing else."""

DEMO_PRICE = {"input": 0.15, "cached_input": 0.075, "output": 0.60}
"""USD per million tokens, so that the cost panels live: those of a small model."""

REAL_PROVIDERS = {
    "OPENAI_API_KEY": (
        "openai",
        "https://api.openai.com/v1",
        ("gpt-*", "o*", "chatgpt-*", "text-embedding-*"),
    ),
    "ANTHROPIC_API_KEY": ("anthropic", "https://api.anthropic.com", ("claude-*",)),
}
"""Environment variable -> dialect (and name), base URL, patterns of its models."""


def demo(
    environ: Mapping[str, str],
    *,
    simulator_base: str,
    openai_models: Iterable[str],
    anthropic_models: Iterable[str],
    local_key: str,
) -> Config:
    """Build the built-in configuration.

    Args:
        environ: where OPENAI_API_KEY, ANTHROPIC_API_KEY, ADMIN_KEY and VIEWER_KEY may be set.
        simulator_base: address of the simulator, without path (http://127.0.0.1:8081).
        openai_models: models that the simulator serves in OpenAI's dialect.
        anthropic_models: those in Anthropic's.
        local_key: the key of tenant ``local``, which exists where a real provider does and may use
            everything.

    Raises:
        ConfigError: if a variable holds something that can be no key, say.
    """
    simulated = {
        **{name: f"demo/{name}" for name in openai_models},
        **{name: f"demo-anthropic/{name}" for name in anthropic_models},
    }
    providers: dict[str, object] = {
        "demo": {"dialect": "openai", "base_url": f"{simulator_base}/v1"},
        "demo-anthropic": {"dialect": "anthropic", "base_url": simulator_base},
    }
    models: dict[str, object] = {name: {"targets": [target], "price": DEMO_PRICE} for name, target in simulated.items()}
    tenants: list[object] = [
        {"id": "demo", "keys": [{"id": "demo", "hash": hash_key(DEMO_KEY)}], "models": list(simulated)}
    ]
    for variable, (name, base_url, patterns) in REAL_PROVIDERS.items():
        if environ.get(variable):
            providers[name] = {"dialect": name, "base_url": base_url, "api_keys": [environ[variable]]}
            models.update({pattern: {"targets": [f"{name}/*"]} for pattern in patterns})
    if len(providers) > 2:
        tenants.append({"id": "local", "keys": [{"id": "local", "hash": hash_key(local_key)}]})
    admin = {"key": environ.get("ADMIN_KEY", ""), "viewer_key": environ.get("VIEWER_KEY", "")}
    tree: dict[str, object] = {"providers": providers, "models": models, "tenants": tenants, "admin": admin}
    return assemble(Document(tree=tree), "the built-in demo")
