"""Bash: the shell itself, with the tools that scripts expect."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRIPTS = {
    "arrays": ("declare -A m=([a]=1 [b]=2); xs=(x y z); echo ${#m[@]} ${xs[-1]} ${xs[@]:1}", "2 z y z\n"),
    "process substitution": ("diff <(echo 1) <(echo 2) | tail -1", "> 2\n"),
    "here document": ("cat <<'END'\n$HOME\nEND", "$HOME\n"),
    "tools": ("printf 'b 2\\na 1\\n' | sort | awk '{print $2}' | sed s/1/one/ | grep -c one", "1\n"),
    "traps": ("trap 'echo bye' EXIT\necho hi", "hi\nbye\n"),
    "background jobs": ("sleep 0.05 & wait $!; echo $?", "0\n"),
    "itself": ('echo "$0" "$(wc -l <"$0")" ${BASH_SOURCE[0]}', "main.sh 0 main.sh\n"),
    "files": ("mkdir -p a/b && echo x >a/b/c && find a -type f && stat -c %a a/b/c", "a/b/c\n644\n"),
    "pipefail": ("set -o pipefail; false | true; echo $?", "1\n"),
    "home": ('echo ~ "$PWD" "$TMPDIR"', "/tmp/work /tmp/work /tmp\n"),
    "shebang of another": ("#!/usr/bin/env zsh\necho $BASH_VERSINFO | grep -qE '^[0-9]+$' && echo bash", "bash\n"),
    "reading lines": ("while read -r line; do echo \"<$line>\"; done <<<$'a\\nb'", "<a>\n<b>\n"),
}


@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_script_runs_as_a_file_does(engine, name):
    script, expected = SCRIPTS[name]

    result = await engine.execute(script, language="bash")

    assert (result.status, result.error) == ("success", "")
    assert result.output == expected


async def test_the_script_does_not_eat_its_own_input(engine):
    result = await engine.execute("head -c 3\necho; cat", language="bash", stdin="one two")

    assert result.output == "one\n two"
