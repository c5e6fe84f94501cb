"""Each test of the backends' suite fails for a backend that has the fault which it is there for."""

from __future__ import annotations

import copy
import inspect
from functools import partial

import pytest

from tests.testing import broken_backends as broken
from xagent_core import Engine, NetworkPolicy, PoolConfig, XAgentError
from xagent_core.config import Settings
from xagent_core.testing.backends import BackendConformance, common, lives, owners, streams
from xagent_core.testing.backends.common import IMAGE, one_language
from xagent_core.testing.backends.hardening import survey

pytestmark = [pytest.mark.engine("bubblewrap"), pytest.mark.slow]

FAULTS = [
    (broken.Buffering, "what_nobody_fetches_holds_the_program_back"),
    (broken.Merging, "every_byte_comes_through_both_streams"),
    (broken.Merging, "a_chatty_stream_does_not_hide_the_other"),
    (broken.Cutting, "every_byte_comes_through_both_streams"),
    (broken.Late, "output_before_an_end_at_once_is_not_lost"),
    (broken.EndsOnce, "the_end_of_output_stays_and_tells_the_exit_code"),
    (broken.AlwaysZero, "the_end_of_output_stays_and_tells_the_exit_code"),
    (broken.LosesWhenCancelled, "a_receive_that_is_cancelled_loses_nothing"),
    (broken.Greedy, "who_writes_waits_while_nobody_reads_and_learns_of_the_end"),
    (broken.Greedy, "a_sandbox_that_has_ended_can_be_killed"),
    (broken.Optimist, "an_engine_that_is_not_there_is_told_with_its_remedy"),
    (broken.AddsVariables, "the_first_process_is_what_was_asked_for"),
    (broken.KillsLater, "when_kill_returns_nothing_of_it_is_left"),
    (broken.KillsOnce, "a_kill_may_be_repeated_and_loses_no_output"),
    (broken.KillsOnce, "a_sandbox_that_has_ended_can_be_killed"),
    (broken.SharesIds, "sandboxes_at_the_same_time_are_apart"),
    (broken.ForgetsCancelled, "a_cancelled_start_leaves_nothing"),
    (broken.StartsAnything, "a_start_that_fails_leaves_nothing"),
    (broken.HidesUsage, "usage_is_told_where_it_is_claimed"),
    (broken.KeepsOpen, "closing_frees_everything_and_may_be_repeated"),
    (broken.ReapsAll, "the_reaper_finds_nothing_where_nothing_was_left"),
    (broken.Outlives, "a_sandbox_ends_when_its_owner_is_killed"),
    (broken.Outlives, "the_reaper_takes_what_dead_owners_left_and_nothing_else"),
    (broken.HoldsNothing, "memory_ends_the_program_and_is_told"),
    (broken.HoldsNothing, "memory_is_counted_for_all_processes_together"),
    (broken.HoldsNothing, "a_fork_bomb_is_held"),
    (broken.HoldsNothing, "scratch_is_limited_as_a_whole"),
    (broken.SharesProcesses, "sandboxes_do_not_share_their_processes"),
    (broken.Boasts, "a_network_policy_holds_or_is_refused"),
    (broken.ClaimsNothing, "limits_that_are_not_claimed_are_refused"),
    (broken.CompilesNothing, "scratch_executes_for_a_language_that_compiles"),
    (broken.LeaksEnvironment, "an_environment_of_this_process_is_not_passed_on"),
]
PARAMETERS = {"state": "idle", "network": NetworkPolicy.INTERNET}

# What the survey would have seen in a sandbox with one fault, and the test that must mind.
LOOKS = [
    ("nothing_but_scratch_is_writable", lambda seen: seen["writable"].append("/etc")),
    ("nothing_but_scratch_is_writable", lambda seen: seen["opened"].append("/dev/mem")),
    ("nothing_but_scratch_is_writable", lambda seen: seen["mounts"]["/"]["flags"].remove("ro")),
    ("scratch_is_a_tmpfs_that_executes_nothing", lambda seen: seen["mounts"]["/tmp"]["flags"].remove("nosuid")),
    ("scratch_is_a_tmpfs_that_executes_nothing", lambda seen: seen["executes"].update({"/dev/shm": 0})),
    ("the_user_is_nobody_special", lambda seen: seen["ids"].append(0)),
    ("the_user_is_nobody_special", lambda seen: seen["status"].update(CapBnd="00000000a80425fb")),
    ("the_user_is_nobody_special", lambda seen: seen["status"].update(NoNewPrivs="0")),
    ("dangerous_system_calls_are_closed", lambda seen: seen["status"].update(Seccomp="0")),
    ("dangerous_system_calls_are_closed", lambda seen: seen["calls"].update(io_uring_setup="EFAULT")),
    ("sockets_are_of_four_families", lambda seen: seen["families"].append(40)),
    ("there_is_no_network_but_loopback", lambda seen: seen["interfaces"].append("eth0")),
    ("there_is_no_network_but_loopback", lambda seen: seen.update(outside="timed out")),
    ("only_its_own_processes_are_there", lambda seen: seen["processes"].extend(range(100))),
    ("nothing_of_the_hosts_environment_is_there", lambda seen: seen["environment"].update(SECRET="1")),
    ("nothing_of_the_hosts_environment_is_there", lambda seen: seen.update(first_environment="SECRET=1\0")),
    ("no_path_of_the_host_is_shown", lambda seen: seen["sockets"].append("/run/docker.sock")),
    ("no_descriptor_is_inherited", lambda seen: seen["descriptors"]["self"].update({"9": "/etc/passwd"})),
    ("no_descriptor_is_inherited", lambda seen: seen["descriptors"]["1"].update({"9": "/etc/passwd"})),
    ("no_device_and_no_terminal_can_be_opened", lambda seen: seen["devices"].append("/dev/sda")),
    ("no_device_and_no_terminal_can_be_opened", lambda seen: seen["tty"].__setitem__(0, True)),
    ("the_kernels_keys_are_out_of_reach", lambda seen: seen.update(keys="1 I--Q--- 1 perm 3f030000 0 0 keyring _ses")),
    ("cores_descriptors_and_file_sizes_are_limited", lambda seen: seen["limits"].update(CORE=[-1, -1])),
    ("signals_are_as_a_program_expects", lambda seen: seen["status"].update(SigIgn="0000000000000001")),
]  # fmt: skip


def engine_over(backend):
    return Engine(backend, settings=Settings(), plugins=one_language(IMAGE), pool=PoolConfig(ready=0))


async def run(name, backend, engine):
    """Runs one test of the suite as pytest does."""
    test = getattr(BackendConformance(), f"test_{name}")
    given = {
        "engine": engine,
        "backend": backend,
        "unavailable": partial(backend, bwrap="/no/such/bwrap"),
        "leftovers": lambda: (),
        **PARAMETERS,
    }
    await test(**{parameter: given[parameter] for parameter in inspect.signature(test).parameters})


@pytest.mark.parametrize(("backend", "name"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
async def test_the_fault_is_found(backend, name, monkeypatch):
    monkeypatch.setattr(owners, "_SECONDS", 2)
    monkeypatch.setattr(common, "PATIENCE", 3)
    monkeypatch.setattr(lives, "PATIENCE", 3)
    monkeypatch.setattr(lives, "_SOON", 2)
    monkeypatch.setattr(streams, "_UNREAD_SECONDS", 4)  # so that a program that is held up writes in that time, too
    made = backend()
    try:
        async with engine_over(made) as engine:
            with pytest.raises((AssertionError, TimeoutError, XAgentError, pytest.fail.Exception)):
                await run(name, backend, engine)
    finally:
        for left in (made, *getattr(backend, "left", ())):
            await left.inner.aclose()


async def test_every_line_of_the_hardening_list_minds_what_it_sees():
    async with engine_over(broken.GoodBackend()) as engine:
        good = await survey(engine)
        for name, spoil in LOOKS:
            test = getattr(BackendConformance(), f"test_{name}")
            await test(good)
            seen = copy.deepcopy(good)
            spoil(seen)
            with pytest.raises(AssertionError):
                await test(seen)


def test_every_test_is_shown_to_fail():
    shown = {f"test_{name}" for _, name in FAULTS} | {f"test_{name}" for name, _ in LOOKS}
    tests = {name for name in BackendConformance.suite_parts if name.startswith("test_")}
    assert tests - shown == {
        "test_the_probe_is_right",
        "test_every_namespace_is_its_own",
        "test_to_the_kernel_the_user_is_not_root",
        "test_cpu_time_is_shared_out",  # a busy machine gives a program no more than a quarter either
    }
