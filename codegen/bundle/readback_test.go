package bundle

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/ir"
)

// TestReadBack: a bundle that would be read back as another is not written, and what
// was there stays.
func TestReadBack(t *testing.T) {
	inFull(t)
	dir := t.TempDir()
	first, _ := twoBundles()
	if _, err := first.Write(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, documentName))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func(b *Bundle)
		want  string
	}{
		"a loop called step": {func(b *Bundle) {
			k := *b.Plan.Kernels[0]
			k.Body = append([]kernel.Stmt{&kernel.For{Name: "step", Lo: kernel.I(0), Hi: kernel.I(1), Step: kernel.I(1)}}, k.Body...)
			b.Plan.Kernels[0] = &k
		}, `"step" is not a name`},
		"a state stored otherwise": {func(b *Bundle) { b.Module.States[0].Stored = "bf16" }, "not the plan"},
		"a value's bad name":       {func(b *Bundle) { b.Module.Nodes[0].Result.Name = "a b" }, "plan.ir"},
	} {
		b, err := Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		c.spoil(b)
		if _, err := b.Write(t.Context(), dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, expected %q", name, err, c.want)
		}
		if after, err := os.ReadFile(filepath.Join(dir, documentName)); err != nil || string(after) != string(before) {
			t.Errorf("%s: bundle.json was replaced (%v)", name, err)
		}
		if found := names(t, dir); len(found) > 4 {
			t.Errorf("%s: left behind: %v", name, found)
		}
	}
	again, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.verifyWritten(dir, before); err != nil {
		t.Error(err)
	}
	notTheSame(t, first, again)
	k := again.Plan.Kernels[3]
	path := filepath.Join(dir, again.folder, filepath.FromSlash(kernelFile(k)))
	if err := sameText(again.Plan.Kernels[4], path); err == nil || !strings.Contains(err.Error(), "another kernel") {
		t.Errorf("another kernel's file: %v", err)
	}
	text := strings.Replace(kernel.Print(k), "{\n", "{\n  for step = 0 to 1 by 1 {\n  }\n", 1)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := sameText(k, path); err == nil || !strings.Contains(err.Error(), "expected a name") {
		t.Errorf("a kernel that is not read: %v", err)
	}
}

// notTheSame changes a bundle in one place after the other.
func notTheSame(t *testing.T, written, again *Bundle) {
	t.Helper()
	if err := written.same(again); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Bundle){
		"name":       func(b *Bundle) { b.Name += "x" },
		"checkpoint": func(b *Bundle) { b.Checkpoint = "/" },
		"layout":     func(b *Bundle) { b.Layout = "" },
		"config":     func(b *Bundle) { b.Config = b.Config[1:] },
		"file":       func(b *Bundle) { b.Files = slices.Clone(b.Files); b.Files[0].Bytes++ },
		"files":      func(b *Bundle) { b.Files = b.Files[1:] },
		"notes":      func(b *Bundle) { b.Notes = b.Notes[1:] },
		"caches":     func(b *Bundle) { b.CacheRows = "f32" },
		"module":     func(b *Bundle) { m := *b.Module; m.Name = "other"; b.Module = &m },
		"symbols": func(b *Bundle) {
			m := *b.Module
			m.Symbols = append(slices.Clone(m.Symbols), ir.Symbol{Name: "Z"})
			b.Module = &m
		},
		"kernels": func(b *Bundle) { p := *b.Plan; p.Kernels = p.Kernels[1:]; b.Plan = &p },
		"kernel": func(b *Bundle) {
			p := *b.Plan
			p.Kernels = slices.Clone(p.Kernels)
			k := *p.Kernels[7]
			k.Body = append([]kernel.Stmt{&kernel.Barrier{}}, k.Body...)
			p.Kernels[7], b.Plan = &k, &p
		},
	} {
		b := *again
		if change(&b); written.same(&b) == nil {
			t.Errorf("another %s is the same", name)
		}
	}
}
