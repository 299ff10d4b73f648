package bundle

import (
	"os"
	"path/filepath"
	"testing"

	"smelt/codegen/kernel"
	"smelt/ir"
	"smelt/models/deepseekv4"
	"smelt/passes"
)

// compiled compiles a fixture into a folder.
func compiled(t testing.TB) (dir string, module *ir.Module, kernels map[string]*kernel.Kernel) {
	t.Helper()
	m, err := deepseekv4.Open("../../models/deepseekv4/testdata/fixtures/a-bf16")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b, _, err := Compile(Source{Name: "a", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding},
		Options{Context: 256, Chunk: 16, Formats: passes.Formats{Rows: "fp8", Keys: "fp4"}})
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "bundle")
	if err := b.Write(dir); err != nil {
		t.Fatal(err)
	}
	kernels = map[string]*kernel.Kernel{}
	for _, k := range b.Plan.Kernels {
		kernels[k.Name] = k
	}
	return dir, b.Module, kernels
}

// FuzzDocument reads whatever bundle.json may hold: no panic, and a document
// that is taken has a plan that passes its checks.
func FuzzDocument(f *testing.F) {
	dir, module, kernels := compiled(f)
	whole, err := os.ReadFile(filepath.Join(dir, documentName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`{"format":2,"steps":[{},{}],"symbols":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := parseDocument("bundle.json", data)
		if err != nil {
			return
		}
		b, err := assemble(doc, module, kernels)
		if err != nil {
			return
		}
		if err := b.Plan.Check(); err != nil {
			t.Fatalf("a plan was taken that does not hold: %v", err)
		}
	})
}

// TestTruncated cuts bundle.json at many places, and changes single bytes.
func TestTruncated(t *testing.T) {
	dir, module, kernels := compiled(t)
	whole, err := os.ReadFile(filepath.Join(dir, documentName))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(whole)-1; n += 1009 {
		if doc, err := parseDocument("bundle.json", whole[:n]); err == nil {
			t.Fatalf("the first %d bytes are read as %+v", n, doc.Model)
		}
	}
	doc, err := parseDocument("bundle.json", whole)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := assemble(doc, module, kernels); err != nil {
		t.Fatal(err)
	}
	doc.Steps[0].Buffers[0].Offset = 1 << 60
	if _, err := assemble(doc, module, kernels); err == nil {
		t.Error("a buffer beyond the arena is taken")
	}
}
