"""The guest: the POSIX sh script that is a sandbox's first process and waits for a job.

The wire format is sh itself. The guest reads its standard input line by line and evaluates each line; a line may
take raw bytes that follow it. So the script is the same for every language and backend, and needs nothing but `sh`,
`mkdir`, `mkfifo`, `mv`, `dd` and `cat`. `wire` writes the lines, `scanner` reads what comes back.

Three things hold whatever a job does:

- The first process only waits for the reader of the messages. When the reader ends, because the owner closed the
  stream (SIGKILL closes it too) or because a job killed it, the first process ends and the kernel ends all others.
  Waiting also reaps the orphans of jobs.
- The reader goes on reading while a job runs, since jobs run in the background with their input from a file.
- A job's standard error is not the guest's: what the shell itself has to say (`Killed`) is not the program's output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["BASE_ENV", "SCRATCH", "STATE", "WORKSPACE", "guest_command"]

SCRATCH: Final = "/tmp"  # noqa: S108 - the path inside a sandbox, where it is the only writable place
WORKSPACE: Final = f"{SCRATCH}/work"
"""The working directory of programs."""
STATE: Final = f"{SCRATCH}/.xagent"
"""The guest's own files."""

BASE_ENV: Final = (("HOME", WORKSPACE), ("LANG", "C.UTF-8"), ("TMPDIR", SCRATCH))
"""What every program finds in its environment, beside PATH."""

# finish BOUNDARY PHASE CODE: the mark that ends a phase, on both streams, behind the job's random boundary:
# phase, exit code, and from the cgroup where it can be seen: OOM kills, peak memory in bytes, CPU time in ns.
# Descriptors 4 and 5 are the job's real streams. `$n` is a newline, which no line of a message can hold.
_GUEST: Final = f"""
umask 022
n='
'
mkdir -p {WORKSPACE} {STATE} && cd {WORKSPACE} && : >{STATE}/stdin || exit 70
finish() {{
  o=- m=- c=- g=/sys/fs/cgroup
  {{ while read -r k v; do case $k in oom_kill) o=$v;; esac; done <$g/memory/memory.oom_control &&
    read -r m <$g/memory/memory.max_usage_in_bytes && read -r c <$g/cpuacct/cpuacct.usage ||
    {{ while read -r k v; do case $k in oom_kill) o=$v;; esac; done <$g/memory.events &&
      while read -r k v; do case $k in usage_usec) c=${{v}}000;; esac; done <$g/cpu.stat &&
      read -r m <$g/memory.peak; }}; }} 2>/dev/null
  printf '%s %s %s %s %s %s\\n' "$1" "$2" "$3" "$o" "$m" "$c" >&4
  printf '%s %s %s %s %s %s\\n' "$1" "$2" "$3" "$o" "$m" "$c" >&5
}}
serve() {{
  if [ $# -gt 0 ]; then
    mkfifo "$1" || exit 70
    shift
    {{
      "$@" <{STATE}/stdin 2>&5 4>&- 5>&-
      c=$?
      read -r b <{STATE}/boundary && finish "$b" run $c || kill -9 "$r"
    }} 4>&1 5>&2 2>/dev/null &
  fi
  while IFS= read -r line; do eval "$line"; done
}}
{{ read -r r _ </proc/self/stat; serve "$@"; }} <&0 &
exec </dev/null
wait $!
"""


def guest_command(*, source_name: str = "", standby: Sequence[str] = ()) -> tuple[str, ...]:
    """The first process of a sandbox.

    Args:
        source_name: Where the standby interpreter will look for its source, relative to the workspace.
        standby: The argv of an interpreter to start at once; it waits until its source is handed over.

    Returns:
        An argv that any POSIX sh understands.
    """
    return ("sh", "-c", _GUEST, "xagent", *((source_name, *standby) if standby else ()))
