"""The part of a queue's suite in which tools are called; it needs langchain-core."""

from __future__ import annotations

from pathlib import Path

import pytest

from xagent_core.abc.queue import Job, ToolCall
from xagent_core.errors import InvalidRequestError
from xagent_core.testing.queues.rig import Rig
from xagent_core.testing.queues.worker import program
from xagent_core.testing.suite import Conformance

__all__ = ["Calls"]


class Calls(Conformance, suite=True):
    """Calls of tools, beside programs."""

    async def test_a_call_has_the_tool_s_result(self, rig: Rig) -> None:
        async with rig.worker():
            job = await rig.queue.submit(_play(pieces=["ü"]))
            result = await rig.queue.tool_result(job.id, timeout=60)
            assert (result.content, result.artifact, result.status) == ("ü", {"exit_code": 0}, "success")
            with pytest.raises(InvalidRequestError, match="tool_result"):
                await rig.queue.result(job.id)
        job = await rig.queue.job(job.id)
        assert (job.request, job.result, job.attempt) == (_play(pieces=["ü"]), result, 1)

    async def test_a_call_s_output_comes_while_it_runs(self, rig: Rig, tmp_path: Path) -> None:
        async with rig.worker():
            job = await rig.queue.submit(_play(pieces=["one\n", "two\n"], until=tmp_path / "seen"))
            outputs: list[str] = []
            async for event in rig.queue.events(job.id):
                if event.output is not None:
                    assert outputs or (await rig.queue.job(job.id)).state == "running"
                    outputs.append(event.output.data)
                    (tmp_path / "seen").touch()
        assert "".join(outputs) == "one\ntwo\n"

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"told": program(exit_code=3)}, "the program ended with 3"),
            ({"told": program(fails="no")}, "lost"),
            ({"tell": ""}, "told: Field required"),
        ],
        ids=["by its own account", "for its sandbox was lost", "for its arguments"],
    )
    async def test_a_tool_that_fails_is_a_result_and_is_not_called_again(
        self, rig: Rig, arguments: dict[str, str], said: str
    ) -> None:
        async with rig.worker():
            job = await rig.queue.submit(ToolCall(name="play", arguments=arguments), idempotent=True)
            result = await rig.queue.tool_result(job.id, timeout=60)
        assert result.status == "error"
        assert said in str(result.content)
        assert (await rig.queue.job(job.id)).attempt == 1

    async def test_a_tool_that_is_not_there_is_not_tried_again(self, rig: Rig) -> None:
        async with rig.worker():
            job = await rig.ended((await rig.queue.submit(ToolCall(name="no_such_tool"), idempotent=True)).id)
        assert (job.state, job.attempt) == ("dead", 1)
        assert job.failure is not None
        assert (job.failure.type, job.failure.component) == ("UnknownPluginError", "tool no_such_tool")
        assert "play" in job.failure.fix

    async def test_a_tool_that_needs_files_gets_those_of_the_worker(self, rig: Rig, tmp_path: Path) -> None:
        call = ToolCall(name="keep", arguments={"text": "a"})
        async with rig.worker():
            job = await rig.ended((await rig.queue.submit(call, idempotent=True)).id)
        assert (job.state, job.attempt) == ("dead", 1)
        assert job.failure is not None
        assert "--workspace" in job.failure.fix
        async with rig.worker(workspace=tmp_path / "new"):
            for content in ("a", "aa"):
                job = await rig.queue.submit(call)
                assert (await rig.queue.tool_result(job.id, timeout=60)).content == content

    async def test_cancelling_a_call_that_runs_kills_its_sandbox(self, rig: Rig) -> None:
        async with rig.worker(slots=1) as backend:
            job = await rig.queue.submit(_play(pieces=["begun"], exit_code=None))
            await rig.cancel_running(job.id, backend)

    async def test_a_call_that_was_interrupted_is_made_again_only_where_it_may_be(self, rig: Rig) -> None:
        async with rig.worker():
            jobs = [await rig.queue.submit(_play(exit_code=None), idempotent=again) for again in (False, True)]
            # Leaving an embedded worker would wait for its jobs.
            for task in await rig.attempts(2):
                task.cancel()
            once = await rig.until(jobs[0].id, _over)
            assert (once.state, once.attempt) == ("dead", 1)
            again = await rig.until(jobs[1].id, lambda job: job.attempt == 2)
            await rig.queue.cancel(again.id)
            await rig.ended(again.id)


def _play(pieces: list[str] | None = None, until: Path | None = None, exit_code: int | None = 0) -> ToolCall:
    return ToolCall(name="play", arguments={"told": program(pieces=pieces, until=until, exit_code=exit_code)})


def _over(job: Job) -> bool:
    return job.over
