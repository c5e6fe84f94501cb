"""The first-party backends: every test that is meant to hold on each of them takes its parameters from here."""

from __future__ import annotations

import pytest

BACKENDS = ("bubblewrap", "docker")
EACH_BACKEND = [pytest.param(name, marks=pytest.mark.engine(name)) for name in BACKENDS]
