"""What every test of this repository may use; the marker `engine` comes with xagent-core itself."""

from __future__ import annotations

pytest_plugins = ["pytester"]
