"""Bubblewrap keeps what the contract of a backend promises."""

from __future__ import annotations

import os
from functools import partial

import pytest
from xagent_bubblewrap.backend import BubblewrapBackend

from xagent_core.testing import BackendConformance


class TestBubblewrap(BackendConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls):
        return BubblewrapBackend

    @pytest.fixture(scope="class")
    @classmethod
    def unavailable(cls):
        return partial(BubblewrapBackend, bwrap="/no/such/bwrap")

    @pytest.fixture(scope="class")
    @classmethod
    def leftovers(cls):
        """The sandboxes' control groups."""
        return lambda: [path for path, _, _ in os.walk("/sys/fs/cgroup") if f"/{os.getpid()}-" in path]
