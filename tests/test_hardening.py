"""The list of system calls is well-formed, known to the kernel's own tools, and closes what must be closed."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import platform

import pytest

from xagent_core.hardening import ALLOWED_SYSCALLS, DENIED_ERRNO, SYSCALL_RULES

# Of other architectures, or newer than the oldest libseccomp that is supported (2.5, Debian 12 and Ubuntu 22.04).
CLOSED = (
    # Namespaces, mounts, and other ways to make a new world.
    "clone3 unshare setns mount umount umount2 pivot_root chroot move_mount open_tree fsopen fsmount fsconfig fspick "
    "mount_setattr "
    # The kernel itself: modules, programs in it, clocks, power, accounting.
    "init_module finit_module delete_module bpf perf_event_open kexec_load kexec_file_load reboot swapon swapoff acct "
    "settimeofday clock_settime clock_adjtime adjtimex syslog quotactl nfsservctl iopl ioperm lookup_dcookie "
    "sethostname setdomainname vhangup "
    # Holes with a history.
    "userfaultfd io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key modify_ldt uselib "
    "_sysctl sysfs ustat vmsplice fanotify_init open_by_handle_at name_to_handle_at memfd_secret "
    # Other processes.
    "ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp move_pages migrate_pages"
).split()


def test_it_is_sorted_words_without_a_second_one():
    assert list(ALLOWED_SYSCALLS) == sorted(ALLOWED_SYSCALLS)
    assert len(set(ALLOWED_SYSCALLS)) == len(ALLOWED_SYSCALLS)
    assert all(name.isidentifier() for name in ALLOWED_SYSCALLS)


@pytest.mark.parametrize("name", CLOSED)
def test_what_must_be_closed_is_not_in_it(name):
    assert name not in ALLOWED_SYSCALLS
    assert name not in {rule.syscall for rule in SYSCALL_RULES}


@pytest.mark.parametrize(
    "name",
    "read write openat close mmap execve fork vfork wait4 futex clock_gettime getrandom rt_sigaction prctl pipe2 dup2 "
    "kill exit_group seccomp getdents64 statx newfstatat epoll_wait memfd_create sched_yield".split(),
)
def test_what_every_program_needs_is_in_it(name):
    assert name in ALLOWED_SYSCALLS


def test_rules_are_about_calls_that_are_not_allowed_anyway():
    for rule in SYSCALL_RULES:
        assert rule.syscall not in ALLOWED_SYSCALLS
        assert rule.argument in range(6)
        assert rule.value in range(2**64)


def test_new_namespaces_need_a_flag_that_clone_may_not_have():
    (clone,) = [rule for rule in SYSCALL_RULES if rule.syscall == "clone"]
    assert (clone.argument, clone.comparison) == (0, "masked_zero")
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert clone.value & flag
    # What C libraries start threads with (CLONE_VM and others) stays allowed.
    assert not clone.value & 0x003D0F00


def test_only_four_families_of_sockets():
    families = {rule.value for rule in SYSCALL_RULES if rule.syscall == "socket"}
    assert families == {1, 2, 10, 16}
    assert 40 not in families  # AF_VSOCK


def test_the_answer_makes_c_libraries_fall_back():
    assert os.strerror(DENIED_ERRNO) == "Function not implemented"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the names are looked up for x86_64")
def test_names_are_those_of_libseccomp():
    library = ctypes.util.find_library("seccomp")
    if library is None:
        pytest.skip("libseccomp is not installed")
    resolve = ctypes.CDLL(library).seccomp_syscall_resolve_name
    resolve.argtypes, resolve.restype = [ctypes.c_char_p], ctypes.c_int
    # __NR_SCMP_ERROR is -1; below it are calls of other architectures, which are known and mean nothing here.
    unknown = {name for name in ALLOWED_SYSCALLS if resolve(name.encode()) == -1}
    newer = {"cachestat", "fchmodat2", "futex_requeue", "futex_wait", "futex_wake", "map_shadow_stack", "mseal",
             "riscv_hwprobe"}  # fmt: skip
    assert unknown <= newer
    assert {name for name in ("read", "futex", "clone", "socket", "personality") if resolve(name.encode()) >= 0} == {
        "read", "futex", "clone", "socket", "personality",
    }  # fmt: skip
