# Runs the cells of a session one after another in one shell. It runs inside the sandbox, alone.
# A cell may redirect the streams with exec; the marks must come all the same.
exec 8>&1 9>&2
echo $$ >"${0%/*}/pid"
# Ends the cell that runs. Between cells there is nothing to return from, and the shell says so to nobody.
trap 'return 130 2>/dev/null' INT
while :; do
  read -r XAGENT_BOUNDARY XAGENT_NUMBER XAGENT_CELL <"$0" || continue
  . "$XAGENT_CELL"
  printf -v XAGENT_MARK '%s run %d - - - e30=' "$XAGENT_BOUNDARY" $?
  echo "$XAGENT_MARK" >&8
  echo "$XAGENT_MARK" >&9
done
