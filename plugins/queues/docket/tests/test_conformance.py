"""docket keeps the contract of task queues: on a real Redis, and in one process without a server."""

from __future__ import annotations

import pytest

from xagent_core.testing import QueueConformance, fixed, waive
from xagent_core.testing.redis import RedisServer

ONE_PROCESS = "memory:// is seen by one process alone"


class TestRedis(QueueConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def queue(cls, redis: RedisServer) -> tuple[str, dict[str, object]]:
        return "docket", {"url": redis.url()}


@waive("test_a_killed_worker_s_job_is_run_once_more_by_another", reason=ONE_PROCESS)
@waive("test_a_killed_worker_s_job_is_a_dead_letter_where_it_must_not_run_twice", reason=ONE_PROCESS)
@waive("test_a_job_that_kills_every_worker_ends_as_a_dead_letter", reason=ONE_PROCESS)
@waive("test_a_worker_that_is_told_to_end_finishes_what_it_runs", reason=ONE_PROCESS)
class TestMemory(QueueConformance):
    queue = fixed(("docket", {"url": "memory://"}))
