"""Celery keeps the contract of task queues, on a real Redis."""

from __future__ import annotations

import pytest

from xagent_core.testing import QueueConformance
from xagent_core.testing.redis import RedisServer


class TestRedis(QueueConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def queue(cls, redis: RedisServer) -> tuple[str, dict[str, object]]:
        return "celery", {"url": redis.url()}
