"""The guest: the POSIX sh script that is a sandbox's first process and waits for a job.

The wire format is sh itself. The guest reads its standard input line by line and evaluates each line; a line may
take raw bytes that follow it. So the script is the same for every language and backend, and needs nothing but `sh`,
`mkdir`, `mkfifo`, `rm`, `dd`, `cat` and `env`, and `find` and `tar` to bring files back. `wire` writes the lines,
`scanner` reads what comes back.

What shapes it:

- The reader goes on reading while a job runs, and ends everything when the owner closes the stream, as SIGKILL does
  too. So job and reader are the two sides of a pipeline, and a job's input comes from a file. It is not a background
  job, for those have SIGINT ignored, which a program can neither miss nor always undo.
- The first process waits for that pipeline, and so reaps the orphans of jobs.
- Above a program stand two shells. The lower one tells the end, and the other where a program has killed its parent.
- A shell costs its fork, so those that a job needs stand by too: where no interpreter does, the one that becomes
  the program waits for its command line from the reader (descriptor 6). Builds and jobs after the first fork theirs.
- The process that ends all others to collect files is the one that the first process waits for: the reader of jobs
  that are not followed by another. A reader below it would leave nobody to wait for.
- A job's standard error is not the guest's: what the shell itself has to say (`Killed`) is not the program's output.
- A standby interpreter waits for its source on a named pipe, `$f`. The reader opens the other end (6 again), which
  takes until the interpreter has opened its own, and removes the name: whatever opens the source later, for a
  traceback say, finds the file that a job writes there.
- Only as process 1 of its own namespace may the guest end "all processes".
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
# Descriptors 3, 4 and 5 are the real streams: `run` gives the last two to a program. `$n` is a newline, which no
# line of a message can hold.
_GUEST: Final = f"""
umask 022
n='
'
[ -d {WORKSPACE} ] && [ -d {STATE} ] || mkdir -p {WORKSPACE} {STATE}; cd {WORKSPACE} && : >{STATE}/stdin || exit 70
exec 3<&0 4>&1 5>&2 </dev/null 2>/dev/null
finish() {{
  o=- m=- t=- g=/sys/fs/cgroup
  {{ while read -r k v; do case $k in oom_kill) o=$v;; esac; done <$g/memory/memory.oom_control &&
    read -r m <$g/memory/memory.max_usage_in_bytes && read -r t <$g/cpuacct/cpuacct.usage ||
    {{ while read -r k v; do case $k in oom_kill) o=$v;; esac; done <$g/memory.events &&
      while read -r k v; do case $k in usage_usec) t=${{v}}000;; esac; done <$g/cpu.stat &&
      read -r m <$g/memory.peak; }}; }} 2>/dev/null
  printf '%s %s %s %s %s %s\\n' "$1" "$2" "$3" "$o" "$m" "$t" >&4
  printf '%s %s %s %s %s %s\\n' "$1" "$2" "$3" "$o" "$m" "$t" >&5
}}
end_jobs() {{ [ $$ = 1 ] && kill -9 -1; }}
become() {{ exec "$@" <{STATE}/stdin >&4 2>&5 3<&- 4>&- 5>&- 6>&-; }}
run() {{ ( ( become "$@" ); exit $? ); }}
later() {{ IFS= read -r job && eval "$job"; }}
tell() {{ read -r b p <{STATE}/boundary && finish "$b" ${{p:-run}} $1 || end_jobs; }}
told() {{ ( ( "$@" ); tell $? ) || tell $?; }}
serve() {{ while IFS= read -r line; do eval "$line"; done; end_jobs; }}
f=$1 kept=$2
if [ $# = 0 ]; then
  {{ exec 6>&1 >&4; serve; }} <&3 | told later
  exit
fi
mkfifo "$f" || exit 70
shift 2
told become "$@" | {{ {{ [ "$kept" ] || {{ exec 6>"$f" && rm "$f"; }}; }} && serve || end_jobs; }} <&3
"""


def guest_command(*, source_name: str = "", standby: Sequence[str] = (), keep_pipe: bool = False) -> tuple[str, ...]:
    """The first process of a sandbox.

    Args:
        source_name: Where the standby interpreter will look for its source, relative to the workspace.
        standby: The argv of an interpreter to start at once; it waits until its source is handed over.
        keep_pipe: Whether it opens that pipe again and again.

    Returns:
        An argv that any POSIX sh understands.
    """
    return ("sh", "-c", _GUEST, "xagent", *((source_name, "kept" if keep_pipe else "", *standby) if standby else ()))
