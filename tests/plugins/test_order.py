"""Which first-party backend `auto` asks first."""

from __future__ import annotations

from tests.backends import BACKENDS
from xagent_core import load_plugins


def test_engines_come_before_what_needs_none():
    installed = sorted(load_plugins().backends, key=lambda registration: registration.preference)
    names = [registration.name for registration in installed if registration.name in BACKENDS]
    assert names == ["docker", "podman", "bubblewrap"]
