# Runs the cells of a session one after another in one shell. It runs inside the sandbox, alone.
# A cell may redirect the streams with exec; the marks must come all the same.
exec 8>&1 9>&2
XAGENT_STATE=${0%/*}
# SIGINT ends the cell that runs: from now on the trap DEBUG makes every function and sourced file return before its next
# command. (From the trap INT itself `return` leaves the innermost alone, and where a child has died of the signal it
# leaves Bash deaf to the next one.) Between cells there is nothing to end.
trap '((${#BASH_SOURCE[@]})) && XAGENT_CODE=130 && shopt -s extdebug && trap XAGENT_RETURN DEBUG' INT
XAGENT_RETURN() {
  ((${#BASH_SOURCE[@]} == 1)) || return 2
  trap - DEBUG
  shopt -u extdebug
}
# From the first line of this file on there is something to return from: a signal that comes later ends the cell, and
# of one that came before, this line tells.
echo 'if { read -r XAGENT_STOP <"$XAGENT_STATE/interrupt"; } 2>/dev/null && [ "$XAGENT_STOP" = "$XAGENT_NUMBER" ]
then return 130; fi
. "$XAGENT_CELL"' >"$XAGENT_STATE/enter"
# Open all the time: a request that comes with a signal is not lost with the descriptor.
exec {XAGENT_PIPE}<>"$0"
echo $$ >"$XAGENT_STATE/pid"
while :; do
  IFS=' ' read -r -u "$XAGENT_PIPE" XAGENT_BOUNDARY XAGENT_NUMBER XAGENT_CELL || continue
  XAGENT_CODE=
  . "$XAGENT_STATE/enter"
  printf -v XAGENT_MARK '%s run %d - - - e30=' "$XAGENT_BOUNDARY" "${XAGENT_CODE:-$?}"
  echo "$XAGENT_MARK" >&8
  echo "$XAGENT_MARK" >&9
done
