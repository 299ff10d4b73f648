package docs_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write public.txt anew")

// public are the packages that are meant to be used from outside, by their folders.
var public = []string{
	".", "ir", "ir/text", "ir/encoding", "ir/ops", "passes", "models", "models/checkpoint", "models/tokenizer",
	"codegen/kernel", "codegen/bundle", "runtime/sampling",
}

// most bounds the names that a reader of all public packages meets.
const most = 200

// TestPublic compares what go doc lists of the public packages with public.txt: a
// name more or less is a decision, made by updating the file.
func TestPublic(t *testing.T) {
	var list strings.Builder
	total := 0
	for _, dir := range public {
		entries := entriesOf(t, filepath.Join("..", dir))
		total += len(entries)
		fmt.Fprintf(&list, "%s: %d\n", dir, len(entries))
		for _, e := range entries {
			fmt.Fprintf(&list, "\t%s\n", e)
		}
	}
	fmt.Fprintf(&list, "all: %d\n", total)
	if total >= most {
		t.Errorf("the public packages list %d names, expected fewer than %d: move what only smelt's own packages call to internal", total, most)
	}
	if *update {
		if err := os.WriteFile("public.txt", []byte(list.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile("public.txt")
	if err != nil {
		t.Fatal(err)
	}
	want, got := strings.Split(string(golden), "\n"), strings.Split(list.String(), "\n")
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			t.Fatalf("public.txt:%d: found %q, the packages have %q; if that is meant: go test ./docs -run TestPublic -update", i+1, want[i], got[i])
		}
	}
	if len(want) != len(got) {
		t.Errorf("public.txt has %d lines, the packages %d; if that is meant: go test ./docs -run TestPublic -update", len(want), len(got))
	}
}

// entriesOf lists a package as go doc does: a group of constants or variables is one
// entry, and what belongs to a type stands behind it.
func entriesOf(t *testing.T, dir string) (entries []string) {
	t.Helper()
	set := token.NewFileSet()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	p, err := doc.NewFromFiles(set, files, "smelt")
	if err != nil {
		t.Fatal(err)
	}
	values := func(word string, groups []*doc.Value) {
		for _, g := range groups {
			var names []string
			for _, n := range g.Names {
				if ast.IsExported(n) {
					names = append(names, n)
				}
			}
			if len(names) > 0 {
				entries = append(entries, word+" "+strings.Join(names, " "))
			}
		}
	}
	funcs := func(list []*doc.Func) {
		for _, f := range list {
			entries = append(entries, "func "+f.Name)
		}
	}
	values("const", p.Consts)
	values("var", p.Vars)
	funcs(p.Funcs)
	for _, x := range p.Types {
		entries = append(entries, "type "+x.Name)
		values("const", x.Consts)
		values("var", x.Vars)
		funcs(x.Funcs)
	}
	return entries
}
