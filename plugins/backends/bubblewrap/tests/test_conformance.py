"""Bubblewrap keeps what the contract of a backend promises."""

from __future__ import annotations

import os
from functools import partial

from xagent_bubblewrap.backend import BubblewrapBackend

from xagent_core.testing import BackendConformance, fixed


class TestBubblewrap(BackendConformance):
    backend = fixed(BubblewrapBackend)
    unavailable = fixed(partial(BubblewrapBackend, bwrap="/no/such/bwrap"))
    leftovers = fixed(lambda: [path for path, _, _ in os.walk("/sys/fs/cgroup") if f"/{os.getpid()}-" in path])
