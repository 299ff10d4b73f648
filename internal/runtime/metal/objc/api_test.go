package objc

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// TestMethodsAreApples compares every row with the description.
func TestMethodsAreApples(t *testing.T) {
	d := readDescription(t)
	seen := map[string]bool{}
	for _, s := range Methods() {
		sign := "-"
		if s.Static {
			sign = "+"
		}
		name := sign + "[" + s.Owner + " " + s.Selector + "]"
		if seen[name] {
			t.Errorf("%s is in the table twice", name)
		}
		seen[name] = true
		if n := strings.Count(s.Selector, ":"); n != len(s.Args) {
			t.Errorf("%s has %d colons and %d arguments", name, n, len(s.Args))
		}
		m, ok := d.find(s.Owner, sign+s.Selector)
		if !ok {
			t.Errorf("the description has no %s", name)
			continue
		}
		d.compare(t, name, s, m)
	}
}

func (d *description) compare(t *testing.T, name string, s Signature, m declaration) {
	t.Helper()
	if result, err := d.typeOf(m.result); err != nil || result != s.Result {
		t.Errorf("%s: result %d, declared %s, which is %d (%v)", name, s.Result, m.result, result, err)
	}
	var args []Type
	for _, a := range m.args {
		of, err := d.typeOf(a)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		args = append(args, of)
	}
	if !slices.Equal(args, s.Args) {
		t.Errorf("%s: arguments %v, declared %v, which are %v", name, s.Args, m.args, args)
	}
	if s.Owned != m.owned {
		t.Errorf("%s: owned %v, declared %v", name, s.Owned, m.owned)
	}
	since := m.since
	if since <= 14 { // what smelt needs anyway
		since = 0
	}
	if s.Since != since {
		t.Errorf("%s: since macOS %d, declared %d", name, s.Since, m.since)
	}
}

// TestDescribedOwnershipIsCocoas checks the description against the naming rule:
// the caller owns what a method of the families alloc, new, copy and mutableCopy
// returns.
func TestDescribedOwnershipIsCocoas(t *testing.T) {
	for owner, c := range readDescription(t).classes {
		for key, m := range c.methods {
			if owned := ofOwningFamily(key[1:]); owned != m.owned {
				t.Errorf("%s %s: described as owned: %v, its name says %v", owner, key, m.owned, owned)
			}
			if n := strings.Count(key, ":"); n != len(m.args) {
				t.Errorf("%s %s is described with %d arguments", owner, key, len(m.args))
			}
		}
	}
}

// ofOwningFamily tells whether a selector begins with a word of ownership: the
// word, and then no lower-case letter.
func ofOwningFamily(selector string) bool {
	for _, family := range []string{"alloc", "new", "copy", "mutableCopy"} {
		rest, ok := strings.CutPrefix(selector, family)
		if ok && (rest == "" || !unicode.IsLower(rune(rest[0]))) {
			return true
		}
	}
	return false
}

// TestEveryMethodIsUsed looks for each row's name in the code of the runtime, the
// table itself and the fake runtime of the tests left out: a row that nothing
// calls would be checked for nothing.
func TestEveryMethodIsUsed(t *testing.T) {
	used := usedNames(t)
	for _, name := range methodNames(t) {
		if !used[name] {
			t.Errorf("no code uses %s", name)
		}
	}
}

// methodNames are the Go names of the rows, in order.
func methodNames(t *testing.T) []string {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), "methods.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, decl := range tree.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		if first, ok := group.Specs[0].(*ast.ValueSpec).Type.(*ast.Ident); !ok || first.Name != "Method" {
			continue
		}
		for _, spec := range group.Specs {
			names = append(names, spec.(*ast.ValueSpec).Names[0].Name)
		}
	}
	if len(names) != int(methodCount)+1 {
		t.Fatalf("found %d names for %d rows", len(names)-1, methodCount)
	}
	return names[:methodCount]
}

// usedNames are the identifiers of internal/runtime/metal's code: those of this package as
// they are, those of others where they say objc.Name.
func usedNames(t *testing.T) map[string]bool {
	t.Helper()
	used := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (e.Name() == "fake" || e.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || e.Name() == "methods.go" {
			return nil
		}
		tree, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl: // a function may have a row's name without calling it
				if n.Body != nil {
					collect(n.Body, tree.Name.Name == "objc", used)
				}
				return false
			case *ast.GenDecl:
				collect(n, tree.Name.Name == "objc", used)
				return false
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return used
}

// collect gathers the names that code uses of package objc.
func collect(n ast.Node, inside bool, used map[string]bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if of, ok := n.X.(*ast.Ident); ok && of.Name == "objc" {
				used[n.Sel.Name] = true
			}
			collect(n.X, inside, used)
			return false
		case *ast.Ident:
			if inside {
				used[n.Name] = true
			}
		}
		return true
	})
}
