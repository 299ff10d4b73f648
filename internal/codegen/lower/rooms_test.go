package lower

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// room is the family whose file this is: a kind's files begin with its name,
// sampling's with sample, those of scores with score. The other files are shared, room "".
func room(file string) string {
	rooms := []string{"sample", "score"}
	for _, f := range families {
		rooms = append(rooms, strings.ReplaceAll(f.kind.About().Name, "_", ""))
	}
	stem, _, _ := strings.Cut(strings.TrimSuffix(file, ".go"), "_")
	if slices.Contains(rooms, stem) {
		return stem
	}
	return ""
}

// intrusions lists the uses of what a family's file declares by a file of
// another family and by shared ones, but for the table of families.
func intrusions(fset *token.FileSet, files []*ast.File) []string {
	// What other packages have is unknown here, and an error that nobody minds.
	conf := types.Config{Importer: noImports{}, Error: func(error) {}}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	pkg, _ := conf.Check("lower", fset, files, info)
	fileOf := func(p token.Pos) string { return filepath.Base(fset.Position(p).Filename) }
	var out []string
	for id, object := range info.Uses {
		_, isFunc := object.(*types.Func)
		if object.Pkg() != pkg || !isFunc && object.Parent() != pkg.Scope() {
			continue // another package's, a field or a local variable
		}
		of, by := fileOf(object.Pos()), fileOf(id.Pos())
		if r := room(of); r != "" && r != room(by) && by != "families.go" {
			out = append(out, fmt.Sprintf("%s uses %s, which is in %s", by, object.Name(), of))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not imported") }

// TestRooms: no family is built on another one's files, and no shared file on a
// family's. What two families use is in a file of its own.
func TestRooms(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	seen := map[string]int{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
		seen[room(path)]++
	}
	if len(seen) != len(families)+3 {
		t.Errorf("files by family are %v; each of %d families, sampling, scores and what is shared must have some", seen, len(families))
	}
	for _, bad := range intrusions(fset, files) {
		t.Error(bad)
	}
}

// TestIntrusions: a function, a method and a type of a family are noticed.
func TestIntrusions(t *testing.T) {
	fset := token.NewFileSet()
	var files []*ast.File
	for name, src := range map[string]string{
		"unit.go":       "package lower; import \"elsewhere\"; type unit struct{ elsewhere.T }",
		"hyper.go":      "package lower; type hyper struct{ *unit }; func (m hyper) stream() {}; func hypers() int { return 1 }",
		"hyper_read.go": "package lower; func read(m hyper) { m.stream() }",
		"attention.go":  "package lower; type head struct{ hyper }; func (h head) sum() { h.stream(); hypers := hypers(); _ = hypers }",
		"emit_shape.go": "package lower; func shape() int { return hypers() }",
		"families.go":   "package lower; var table = hypers",
	} {
		f, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	want := []string{
		"attention.go uses hyper, which is in hyper.go",
		"attention.go uses hypers, which is in hyper.go",
		"attention.go uses stream, which is in hyper.go",
		"emit_shape.go uses hypers, which is in hyper.go",
	}
	if got := intrusions(fset, files); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
