"""What an exchange makes of a sandbox that answers oddly, slowly, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from xagent_core import InvalidRequestError, Sandbox, SandboxExit, SandboxLostError
from xagent_core.guest import exchange as module
from xagent_core.guest.exchange import Exchange, Outcome, RawOutput
from xagent_core.guest.wire import new_boundary
from xagent_core.types import StreamName, Usage

BOUNDARY = new_boundary()
LOST = SandboxLostError("odd", "the connection broke")


def mark(text: str, *streams: StreamName) -> list[tuple[StreamName, bytes]]:
    """A mark on both streams, or on those that are named."""
    return [(stream, f"{BOUNDARY} {text} - - -\n".encode()) for stream in streams or ("stdout", "stderr")]


START = mark("start 0", "stdout")
END = [None]


class Odd(Sandbox):
    """Gives the pieces of a list, raises the errors in it, and then says no more."""

    id = "odd"

    def __init__(self, *pieces: object, after_kill: Sequence[object] = (None,)) -> None:
        self.pieces = [piece for part in pieces for piece in (part if isinstance(part, list) else [part])]
        self.after_kill = list(after_kill)
        self.killed = self.mild = 0
        self.send_error: SandboxLostError | None = None
        self.usage_answer: Usage | SandboxLostError | None = None
        self.wait_seconds = 0.0

    async def send(self, data: bytes) -> None:  # noqa: ARG002
        if self.send_error:
            raise self.send_error

    async def receive(self) -> tuple[StreamName, bytes] | None:
        if not self.pieces:
            await asyncio.sleep(3600)
        piece = self.pieces.pop(0)
        if isinstance(piece, SandboxLostError):
            raise piece
        return piece  # type: ignore[return-value]

    async def wait(self) -> SandboxExit:
        await asyncio.sleep(self.wait_seconds)
        return SandboxExit()

    async def kill(self) -> None:
        self.killed += 1
        self.pieces = list(self.after_kill)

    async def interrupt(self) -> None:
        self.mild += 1

    async def usage(self) -> Usage | None:
        if isinstance(self.usage_answer, SandboxLostError):
            raise self.usage_answer
        return self.usage_answer


async def outcome(
    sandbox: Odd,
    *,
    timeout: float = 30,  # noqa: ASYNC109 - the message's
    limit: int = 1000,
    builds: bool = False,
    mild: bool = False,
) -> tuple[Outcome, bytes]:
    """How it ended, and what came on stdout and stderr together."""
    stops = (sandbox.interrupt, sandbox.kill) if mild else (sandbox.kill,)
    exchange = Exchange(
        sandbox, BOUNDARY, builds=builds, timeout=timeout, output_limit=limit, announced=True, stops=stops
    )  # fmt: skip
    output, end = b"", None
    async for piece in exchange.run(b"message"):
        if isinstance(piece, RawOutput):
            output += piece.data
        else:
            end = piece
    assert end is not None
    return end, output


@pytest.fixture
def short_waits(monkeypatch) -> None:
    """What takes seconds in life, where nothing comes, takes moments here."""
    monkeypatch.setattr(module, "_GRACE_SECONDS", 0.05)
    monkeypatch.setattr(module, "_END_SECONDS", 0.05)


async def test_an_end_is_one_on_both_streams():
    end, output = await outcome(
        Odd(START, mark("run 0", "stdout"), ("stderr", b"late"), mark("run 0", "stderr"), ("stdout", b"later"))
    )
    assert (end.status, output) == ("success", b"late")


async def test_an_end_on_one_stream_is_none():
    end, _ = await outcome(Odd(START, mark("run 0", "stdout")), timeout=0.2)
    assert end.status == "timeout"


async def test_what_looks_like_a_beginning_of_a_mark_at_the_very_end_is_output():
    end, output = await outcome(Odd(START, ("stdout", BOUNDARY[:9].encode()), END))
    assert (end.status, output) == ("killed", BOUNDARY[:9].encode())


async def test_what_was_written_before_a_stop_is_fetched_within_the_limit():
    sandbox = Odd(START, after_kill=[("stdout", b"x" * 2000), ("stderr", b"err"), None])
    end, output = await outcome(sandbox, timeout=0.2)
    assert end.status == "timeout"
    assert output == b"x" * 1000 + b"err"
    assert end.truncated == {"stdout"}


async def test_an_engine_that_says_nothing_after_a_kill_is_not_waited_for(short_waits):
    sandbox = Odd(START, ("stdout", b"before"), after_kill=[])
    end, output = await outcome(sandbox, timeout=0.2)
    assert (end.status, output) == ("timeout", b"before")
    assert sandbox.killed


async def test_a_connection_that_breaks_after_a_kill_changes_nothing():
    sandbox = Odd(START, ("stdout", b"before"), after_kill=[("stdout", b", last"), LOST])
    end, output = await outcome(sandbox, timeout=0.2)
    assert end.status == "timeout"
    assert output.startswith(b"before")


async def test_the_next_way_to_stop_is_tried_where_the_mild_one_has_no_effect(short_waits):
    sandbox = Odd(START)
    end, _ = await outcome(sandbox, timeout=0.2, mild=True)
    assert (end.status, sandbox.mild) == ("timeout", 1)
    assert sandbox.killed


async def test_where_the_mild_way_works_nothing_is_killed():
    class Obedient(Odd):
        async def interrupt(self) -> None:
            self.pieces = mark("run 130")  # type: ignore[assignment]

    sandbox = Obedient(START)
    end, _ = await outcome(sandbox, timeout=0.2, mild=True)
    assert (end.status, end.exit_code, sandbox.killed) == ("timeout", None, 0)
    assert end.mark is not None


async def test_a_connection_that_breaks_in_the_middle_is_an_error():
    with pytest.raises(SandboxLostError) as caught:
        await outcome(Odd(START, ("stdout", b"x"), LOST))
    assert caught.value.code_ran == "maybe"


async def test_a_message_that_was_not_taken_has_run_nothing():
    sandbox = Odd()
    sandbox.send_error = LOST
    with pytest.raises(SandboxLostError) as caught:
        await outcome(sandbox)
    assert caught.value.code_ran == "no"


async def test_streams_that_end_before_the_program_began_have_run_nothing():
    with pytest.raises(SandboxLostError, match="sandbox odd: it ended before the program began") as caught:
        await outcome(Odd(END))
    assert caught.value.code_ran == "no"


async def test_an_engine_that_does_not_say_how_it_ended_is_an_error(short_waits):
    sandbox = Odd(START, END)
    sandbox.wait_seconds = 3600
    with pytest.raises(SandboxLostError, match="does not say how it ended"):
        await outcome(sandbox)


async def test_usage_is_the_backends_where_it_can_tell_and_else_the_marks():
    piece = [(stream, f"{BOUNDARY} run 0 0 4096 2000000000\n".encode()) for stream in ("stdout", "stderr")]
    sandbox = Odd(START, piece)
    assert (await outcome(sandbox))[0].usage == Usage(peak_memory=4096, cpu_time=2.0, oom_kills=0)
    for answer, seen in ((Usage(peak_memory=1), 1), (LOST, 4096)):
        sandbox = Odd(START, piece)
        sandbox.usage_answer = answer
        assert (await outcome(sandbox))[0].usage.peak_memory == seen


async def test_files_that_did_not_fit_are_the_requests_fault_but_only_before_it_began():
    with pytest.raises(InvalidRequestError, match="do not fit the scratch space"):
        await outcome(Odd(mark("full 1")))
    end, _ = await outcome(Odd(START, mark("full 1"), mark("run 3")))
    assert (end.status, end.exit_code) == ("error", 3)


async def test_marks_of_unknown_phases_are_not_kept():
    noise = [piece for number in range(200) for piece in mark(f"forged{chr(97 + number % 26)} 0")]
    sandbox = Odd(START, noise, mark("run 0"))
    exchange = Exchange(sandbox, BOUNDARY, builds=False, timeout=30, output_limit=10**6, stops=())
    assert [piece async for piece in exchange.run(b"")][-1].status == "success"  # type: ignore[union-attr]
    assert set(exchange._marks) == {"run"}


async def test_a_build_that_is_stopped_is_a_build():
    end, _ = await outcome(Odd(START, ("stderr", b"compiling")), timeout=0.2, builds=True)
    assert (end.status, end.phase, end.run_seconds) == ("timeout", "build", 0.0)
    end, _ = await outcome(Odd(START, mark("build 0")), timeout=0.2, builds=True)
    assert (end.status, end.phase) == ("timeout", "run")
