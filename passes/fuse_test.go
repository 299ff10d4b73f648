package passes

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

var update = flag.Bool("update", false, "write what is printed into testdata")

// TestFuse runs the pass that a file of testdata/fuse is named after on its
// in.ir, and compares the module with out.ir and the regions' views with view.
func TestFuse(t *testing.T) {
	for _, path := range fuseFiles(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name, _, _ := strings.Cut(filepath.Base(path), ".")
			r, err := run(parse(t, string(a.Files[0].Data)), Options{}, []pass{passNamed(t, name)})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{"in.ir": r.Stages[0].Text(), "out.ir": r.Stages[1].Text(), "view": views(t, r.Module)}
			if len(r.Module.Regions) == 0 {
				t.Error("nothing is fused")
			}
			if *update {
				a.Files = nil
				for _, file := range []string{"in.ir", "out.ir", "view"} {
					a.Files = append(a.Files, txtar.File{Name: file, Data: []byte(got[file])})
				}
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for _, f := range a.Files {
				if got[f.Name] != string(f.Data) {
					t.Errorf("%s: got\n%s\nwant (-update writes it)\n%s", f.Name, got[f.Name], f.Data)
				}
			}
		})
	}
}

// TestFuseFiles: each kind of region has a file of testdata/fuse, which the
// tests of changed operations go through.
func TestFuseFiles(t *testing.T) {
	of := map[string]bool{}
	for _, path := range fuseFiles(t) {
		name, _, _ := strings.Cut(filepath.Base(path), ".")
		of[name] = true
	}
	for _, k := range fusion.Kinds() {
		if pass := k.About().Pass; !of[pass] {
			t.Errorf("testdata/fuse has no %s.*.txtar", pass)
		}
	}
}

func fuseFiles(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/fuse/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files (%v)", err)
	}
	return paths
}

func passNamed(t *testing.T, name string) pass {
	t.Helper()
	for _, p := range pipeline {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no pass %s", name)
	return pass{}
}

func parse(t testing.TB, src string) *ir.Module {
	t.Helper()
	m, err := text.Parse("in.ir", src)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// views prints the view of every region.
func views(t *testing.T, m *ir.Module) string {
	t.Helper()
	var b strings.Builder
	for _, r := range m.Regions {
		v, err := fusion.View(m, r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s\n", r.Kind, r.Name)
		printView(&b, "  ", reflect.ValueOf(v).Elem())
	}
	return b.String()
}

// printView prints the fields of a view that are not zero, one a line.
func printView(b *strings.Builder, indent string, v reflect.Value) {
	for i := range v.NumField() {
		printField(b, indent, v.Type().Field(i).Name, v.Field(i))
	}
}

func printField(b *strings.Builder, indent, name string, f reflect.Value) {
	if f.IsZero() {
		return
	}
	if x, ok := f.Interface().(*ir.Value); ok {
		fmt.Fprintf(b, "%s%s %s\n", indent, name, x.Ref())
		return
	}
	switch f.Kind() {
	case reflect.Pointer:
		printField(b, indent, name, f.Elem())
	case reflect.Slice:
		for i := range f.Len() {
			printField(b, indent, fmt.Sprintf("%s[%d]", name, i), f.Index(i))
		}
	case reflect.Struct:
		fmt.Fprintf(b, "%s%s\n", indent, name)
		printView(b, indent+"  ", f)
	default:
		fmt.Fprintf(b, "%s%s %v\n", indent, name, f.Interface())
	}
}
