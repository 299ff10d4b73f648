package docs_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// walls say which packages may not import which, by their paths in the module with
// internal/ left out. A row holds for the folders below its own too, on both sides.
var walls = []struct{ from, to, why string }{
	{"ir", "passes codegen models runtime bench doctor cmd", "the IR knows nothing that is built on it"},
	{"passes", "codegen models runtime bench doctor cmd", "passes go from module to module"},
	{"models", "codegen passes runtime bench doctor cmd", "a model is a graph and names, whoever compiles it"},
	{"codegen", "runtime bench doctor cmd models/deepseekv4", "what is compiled does not depend on who runs it"},
	{"codegen/kernel", "codegen/lower codegen/plan codegen/program codegen/storage models passes", "kernel IR knows no families of kernels"},
	{"codegen/program", "codegen/lower codegen/plan codegen/bundle models passes", "the words of compiler and runtime lie below both"},
	{"pick", "ir codegen runtime", "the definition of picking a token lies below kernels and sampler"},
	{"runtime", "codegen/lower models/deepseekv4 bench doctor cmd", "devices run plans; families of kernels are the compiler's"},
	{"runtime/planned", "runtime/cpu runtime/cuda runtime/metal runtime/standin runtime/devices runtime/session", "what a device does with rows knows no machine"},
	{"runtime/session", "runtime/planned runtime/cpu runtime/cuda runtime/metal runtime/standin runtime/reference runtime/devices", "sequences know the interface of a device"},
	{"runtime/prefix", "runtime/planned runtime/cpu runtime/cuda runtime/metal runtime/standin runtime/reference runtime/devices runtime/session runtime/scheduler", "what is kept knows the interface of a device, and no sequences"},
	{"bench", "codegen/lower models/deepseekv4 doctor cmd", "measurements take any device"},
	{"doctor", "codegen/lower models/deepseekv4 bench cmd", "an examination takes any device"},
	{"server", "codegen passes models/deepseekv4 runtime/device runtime/devices runtime/scheduler runtime/session runtime/planned bench doctor cmd", "the server knows an engine and the shapes of chats; what they are of, whoever opens the model knows"},
	{"server/engine", "server/api server/dialog server/turn server/live", "the engine's interface lies below the server"},
	{"server/turn", "server/api server/openai server/anthropic server/responses", "a turn knows no protocol"},
	{"server/dialog", "server/api server/openai server/anthropic server/responses", "a dialog knows no protocol"},
	{"server/openai", "server/anthropic server/responses", "protocols do not know each other"},
	{"server/anthropic", "server/openai server/responses", "protocols do not know each other"},
	{"server/responses", "server/openai server/anthropic", "protocols do not know each other"},
	{"cmd", "codegen/lower models/deepseekv4", "the command opens any model that package models knows"},
	{"examples", "codegen/lower models/deepseekv4 cmd bench", "examples go in by the front door, by IR and bundles, or by the evaluator"},
}

// TestWalls reads the imports of every file that is no test.
func TestWalls(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	module := string(regexp.MustCompile(`(?m)^module (\S+)`).FindSubmatch(mod)[1])
	plain := func(p string) string { return strings.TrimPrefix(p, "internal/") }
	used := make([]int, len(walls))
	err = filepath.WalkDir("..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "bin" || strings.HasPrefix(d.Name(), ".") && p != "..") {
			return filepath.SkipDir
		}
		if d.IsDir() || path.Ext(p) != ".go" || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(filepath.ToSlash(p), "../")
		for i, wall := range walls {
			if !below(plain(path.Dir(rel)), wall.from) {
				continue
			}
			used[i]++
			for _, spec := range file.Imports {
				to, ok := strings.CutPrefix(must(strconv.Unquote(spec.Path.Value)), module+"/")
				for _, forbidden := range strings.Fields(wall.to) {
					if ok && below(plain(to), forbidden) {
						t.Errorf("%s imports %s: %s", rel, to, wall.why)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range used {
		if n == 0 {
			t.Errorf("no file lies in %s: the row stands for nothing", walls[i].from)
		}
	}
}

// below tells whether a folder is another or lies in it.
func below(dir, of string) bool { return dir == of || strings.HasPrefix(dir, of+"/") }

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}
