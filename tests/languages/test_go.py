"""Go: a program of one file is compiled directly, and everything else by `go build`."""

from __future__ import annotations

import pytest

from xagent_core import InputFile
from xagent_core.errors import InvalidRequestError

pytestmark = pytest.mark.asyncio(loop_scope="session")

STANDARD_LIBRARY = """
package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"iter"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

var _ = []any{bufio.NewReader, gzip.NewReader, tls.Dial, sql.Open, xml.Marshal, errors.New, slog.New, exec.Command,
	reflect.TypeOf, sort.Ints, testing.Short, time.Now, os.Exit, template.New}

func evens(limit int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; i < limit; i += 2 {
			if !yield(i) {
				return
			}
		}
	}
}

func main() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"path": r.URL.Path})
	}))
	defer server.Close()
	request, _ := http.NewRequestWithContext(context.Background(), "GET", server.URL+"/there", nil)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	var answer map[string]string
	json.NewDecoder(response.Body).Decode(&answer)
	var group sync.WaitGroup
	sums := make(chan *big.Int, 10)
	for i := range 10 {
		group.Add(1)
		go func() { defer group.Done(); sums <- big.NewInt(int64(i)) }()
	}
	group.Wait()
	close(sums)
	total := new(big.Int)
	for sum := range sums {
		total.Add(total, sum)
	}
	_, isLoopback := net.ParseIP("127.0.0.1"), net.ParseIP("127.0.0.1").IsLoopback()
	fmt.Println(answer["path"], total, isLoopback, regexp.MustCompile("a+").FindString("baac"),
		slices.Sorted(maps.Keys(map[string]int{"b": 1, "a": 2})), slices.Collect(evens(5)), strings.ToUpper("x"))
}
"""


async def test_the_standard_library_is_there(engine):
    result = await engine.execute(STANDARD_LIBRARY, language="go", timeout=120)

    assert (result.status, result.error) == ("success", "")
    assert result.output == "/there 45 true aa [a b] [0 2 4] X\n"


PROGRAM = 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println(Value()) }\n'
MODULE = b"module example.com/program\n\ngo 1.21\n"


@pytest.mark.parametrize(
    ("program", "files"),
    [
        pytest.param(PROGRAM, {"part.go": b"package main\n\nfunc Value() int { return 42 }\n"}, id="several files"),
        pytest.param(
            PROGRAM.replace('"fmt"', '("fmt"; . "example.com/program/part")'),
            {"go.mod": MODULE, "part/part.go": b"package part\n\nfunc Value() int { return 42 }\n"},
            id="module with a package",
        ),
        pytest.param(
            PROGRAM.replace('"fmt"', '("fmt"; . "example.com/other")'),
            {
                "go.mod": MODULE + b"require example.com/other v1.0.0\n",
                "vendor/modules.txt": b"# example.com/other v1.0.0\n## explicit\nexample.com/other\n",
                "vendor/example.com/other/other.go": b"package other\n\nfunc Value() int { return 42 }\n",
            },
            id="vendored dependency",
        ),
        pytest.param(
            'package main\n\nimport (\n\t_ "embed"\n\t"fmt"\n)\n\n//go:embed value.txt\nvar value string\n\n'
            "func main() { fmt.Println(value) }\n",
            {"value.txt": b"42"},
            id="embedded file",
        ),
        pytest.param(
            PROGRAM.replace("Value()", "42"), {"main_test.go": b"package main\n\nfunc broken(\n"}, id="test file beside"
        ),
    ],
)
async def test_go_build_takes_what_is_more_than_one_file(engine, program, files):
    given = [InputFile(path, content) for path, content in files.items()]

    result = await engine.execute(program, language="go", files=given, timeout=120)

    assert (result.status, result.output, result.error) == ("success", "42\n", "")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param("func main() {\n\tx := 1\n}", "main.go:3:2: declared and not used", id="unused variable"),
        pytest.param('import "os"\nfunc main() {}', 'main.go:2:8: "os" imported and not used', id="unused import"),
        pytest.param("func main() {\n\tx = = 1\n}", "main.go:3:6: syntax error", id="syntax"),
        pytest.param('import "github.com/a/b"\nfunc main() { b.F() }', "github.com/a/b", id="no such module"),
        pytest.param("func helper() {}", "function main is undeclared", id="no main"),
    ],
)
async def test_a_mistake_has_the_compilers_words(engine, body, words):
    result = await engine.execute(f"package main\n{body}\n", language="go", timeout=120)

    assert (result.status, result.phase, result.output) == ("error", "build", "")
    assert words in result.error


SETTINGS = """
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() { fmt.Println(runtime.GOMAXPROCS(0), os.Getenv("GOFLAGS") == "", os.Args[1:]) }
"""


@pytest.mark.parametrize(("cpus", "threads"), [(None, 2), (0.5, 2), (3, 3)])
async def test_a_program_has_threads_for_its_cpus_and_nothing_of_the_build(engine, cpus, threads):
    result = await engine.execute(SETTINGS, language="go", cpu_limit=cpus, args=["a"], timeout=120)

    assert (result.status, result.output) == ("success", f"{threads} true [a]\n")


async def test_the_default_limits_are_raised_to_what_a_build_takes(engine):
    with pytest.raises(InvalidRequestError, match="less than go needs"):
        await engine.execute(SETTINGS, language="go", memory_limit="64m")
