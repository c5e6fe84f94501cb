"""What every test of this repository may use; the marker `engine` comes with xagent-core itself."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

# How long an example takes is the machine's affair; and no folder of examples is left in the repository.
settings.register_profile("xagent", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("xagent")
