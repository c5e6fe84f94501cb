"""The system calls that sandboxed programs may use: one list, which every backend renders for its engine.

It is an allow-list, as container engines' default profiles are, so that what a later kernel adds is closed. Against
those profiles (Docker 20.10, Podman 4.3) it also closes io_uring, AF_VSOCK and every socket family but four, ptrace,
and reading another process's memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["ALLOWED_SYSCALLS", "DENIED_ERRNO", "SYSCALL_RULES", "ArgumentRule"]

DENIED_ERRNO: Final = 38
"""ENOSYS: C libraries then fall back to older calls, which EPERM would keep them from (clone3, faccessat2)."""

ALLOWED_SYSCALLS: Final[tuple[str, ...]] = tuple(
    """
    _llseek _newselect accept accept4 access alarm arch_prctl arm_fadvise64_64 arm_sync_file_range bind brk
    cacheflush cachestat capget capset chdir chmod chown chown32 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2
    dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
    eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir
    fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork
    fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue
    futex_time64 futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents
    getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername
    getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit
    getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr inotify_add_watch
    inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit
    ioctl ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown
    lchown32 lgetxattr link linkat listen listxattr llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise
    map_shadow_stack membarrier memfd_create mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2
    mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
    mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap nanosleep newfstatat open
    openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll
    ppoll_time64 prctl pread64 preadv preadv2 prlimit64 pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read
    readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr
    rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
    rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile
    sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address set_tls setfsgid setfsgid32
    setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32
    setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32
    setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketpair
    splice stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs sysinfo
    tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill
    truncate truncate64 ugetrlimit umask uname unlink unlinkat utime utimensat utimensat_time64 utimes vfork wait4
    waitid waitpid write writev
    """.split()
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ArgumentRule:
    """Allows a system call only for some values of one argument.

    Attributes:
        syscall: Its name.
        argument: The argument's index from 0.
        comparison: `equal`: the argument is `value`. `masked_zero`: no bit of `value` is set in it.
        value: What it is compared with.
    """

    syscall: str
    argument: int
    comparison: Literal["equal", "masked_zero"]
    value: int


# include/uapi/linux/sched.h: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; NEWTIME is clone3's only.
# clone3 hides its flags behind a pointer, so it is denied as a whole.
_CLONE_NAMESPACES: Final = 0x7E020000
# AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: the last lists interfaces. AF_VSOCK reaches the hypervisor.
_SOCKET_FAMILIES: Final = (1, 2, 10, 16)
# Linux, Linux with the old uname, 32-bit, both, and the question what it is: what engines' profiles allow.
_PERSONALITIES: Final = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

SYSCALL_RULES: Final[tuple[ArgumentRule, ...]] = (
    ArgumentRule(syscall="clone", argument=0, comparison="masked_zero", value=_CLONE_NAMESPACES),
    *(ArgumentRule(syscall="socket", argument=0, comparison="equal", value=family) for family in _SOCKET_FAMILIES),
    *(ArgumentRule(syscall="personality", argument=0, comparison="equal", value=value) for value in _PERSONALITIES),
)
