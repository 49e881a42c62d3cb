"""Settings say what they do not take."""

import pytest
from pydantic import ValidationError

from gateway.simulator import SimulatorSettings


@pytest.mark.parametrize("wrong", [{"speed": 0}, {"speed": -1}, {"log_size": 0}, {"max_body_mb": 0}, {"sped": 2}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    """A speed is above zero, sizes are at least one, and names are known."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        SimulatorSettings.model_validate(wrong)


def test_defaults_play_at_real_speed() -> None:
    """Nothing set is a provider as it is."""
    assert SimulatorSettings().speed == 1.0


def test_an_unknown_behaviour_is_refused() -> None:
    """The behaviour of other models is one of the list."""
    with pytest.raises(ValidationError, match="other_models"):
        SimulatorSettings(other_models="nonsense")
