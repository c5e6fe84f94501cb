"""What every test of this repository may use; the marker `engine` comes with xagent-core itself."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

# How long an example takes is the machine's affair; and no folder of examples is left in the repository.
settings.register_profile("xagent", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("xagent")


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass at once, for event loops and for all others who look at the clock.

    So a test can wait for what must come before a limit of time, however long the machine takes for it, and then have
    the limit strike.
    """
    real, passed = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + sum(passed))
    return passed.append
