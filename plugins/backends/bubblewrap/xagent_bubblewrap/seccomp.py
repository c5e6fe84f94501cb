"""Renders the core's list of system calls to a BPF program, with libseccomp."""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any, Final

from xagent_core.errors import BackendUnavailableError
from xagent_core.hardening import ALLOWED_SYSCALLS, DENIED_ERRNO, SYSCALL_RULES

__all__ = ["compile_filter"]

# include/seccomp.h
_ACT_KILL_PROCESS: Final = 0x80000000
_ACT_ERRNO: Final = 0x00050000
_ACT_ALLOW: Final = 0x7FFF0000
_FLTATR_ACT_BADARCH: Final = 2
_FLTATR_CTL_OPTIMIZE: Final = 8
_CMP_EQ: Final = 4
_CMP_MASKED_EQ: Final = 7
_UNKNOWN_SYSCALL: Final = -1


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


@functools.cache
def compile_filter(component: str) -> bytes:
    """The filter for this machine's architecture.

    Calls that the core's list does not name fail with ENOSYS; a program of another architecture is killed.

    Args:
        component: The backend's name, for errors.

    Returns:
        A BPF program as `bwrap --seccomp` reads it.

    Raises:
        BackendUnavailableError: libseccomp is not installed, or refuses.
    """
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError as error:
        raise BackendUnavailableError(
            component,
            f"libseccomp is missing, without which there is no system call filter: {error}",
            "Install it: apt install libseccomp2 (dnf: libseccomp).",
        ) from error
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ACT_ERRNO | DENIED_ERRNO)))

    def call(function: str, *arguments: Any) -> None:
        result = getattr(library, function)(context, *arguments)
        if result != 0:
            raise BackendUnavailableError(
                component, f"libseccomp: {function} failed: {os.strerror(-result)}", "Install libseccomp 2.4 or later."
            )

    try:
        call("seccomp_attr_set", _FLTATR_ACT_BADARCH, ctypes.c_uint32(_ACT_KILL_PROCESS))
        # A binary tree instead of a chain of comparisons; libseccomp knows it from 2.5 on.
        library.seccomp_attr_set(context, _FLTATR_CTL_OPTIMIZE, ctypes.c_uint32(2))
        for name in ALLOWED_SYSCALLS:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:
                call("seccomp_rule_add_array", ctypes.c_uint32(_ACT_ALLOW), number, 0, None)
        for rule in SYSCALL_RULES:
            number = library.seccomp_syscall_resolve_name(rule.syscall.encode())
            if number == _UNKNOWN_SYSCALL:
                continue
            equal = rule.comparison == "equal"
            comparison = _Comparison(rule.argument, _CMP_EQ if equal else _CMP_MASKED_EQ, rule.value, 0)
            call("seccomp_rule_add_array", ctypes.c_uint32(_ACT_ALLOW), number, 1, ctypes.byref(comparison))
        descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "r+b") as file:
            call("seccomp_export_bpf", descriptor)
            file.seek(0)
            return file.read()
    finally:
        library.seccomp_release(context)
