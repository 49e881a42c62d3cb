"""compose.yaml and the Dockerfile as data, for tests that compare them with the rest of the tree."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy/gateway/Dockerfile"


def compose() -> Any:
    """The stack, with YAML's anchors resolved; variables stand as written."""
    return yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def filled(text: str, **environ: str) -> str:
    """Fill in ``${NAME:-default}`` as Compose does."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: environ.get(found[1]) or found[2], text)


def mounts(service: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """What is mounted, by its path in the container: the source, and the mode (rw unless it says otherwise)."""
    parts = [filled(volume).split(":") for volume in service.get("volumes", [])]
    return {target: (source, mode[0] if mode else "rw") for source, target, *mode in parts}


def environment(service: dict[str, Any]) -> dict[str, str]:
    """Its variables, where nothing is set on the machine."""
    return {name: filled(value) for name, value in service.get("environment", {}).items()}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, with continued lines joined and comments left out."""
    text = re.sub(r"(?m)^#.*\n", "", DOCKERFILE.read_text("utf-8")).replace("\\\n", " ")
    pairs = (line.partition(" ") for line in text.splitlines() if line.strip())
    return [(word, " ".join(rest.split())) for word, _, rest in pairs]


def seconds(text: str) -> float:
    """Read ``90s`` or ``2m``."""
    return float(text[:-1]) * {"s": 1, "m": 60}[text[-1]]
