"""An embedded LLM provider: both dialects, realistic timing, and faults chosen by the model's name."""

from gateway.simulator.models import ANTHROPIC_MODELS, MODELS, OPENAI_MODELS
from gateway.simulator.server import Simulator, run_simulator, start
from gateway.simulator.settings import SimulatorSettings

__all__ = [
    "ANTHROPIC_MODELS",
    "MODELS",
    "OPENAI_MODELS",
    "Simulator",
    "SimulatorSettings",
    "run_simulator",
    "start",
]
