package bundle

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/passes"
)

const fixture = "../../internal/models/deepseekv4/testdata/fixtures/a-bf16"

// source opens the fixture, or another checkpoint.
func source(t testing.TB, dir string) Source {
	t.Helper()
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return Source{Name: "a", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}
}

var smallOptions = Options{Context: 256, Chunk: 16, Lean: true, Formats: passes.Formats{Rows: "fp8", Keys: "fp4"}}

func compile(t testing.TB, s Source, o Options) *Bundle {
	t.Helper()
	b, _, err := Compile(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, b *Bundle, dir string) {
	t.Helper()
	if left, err := b.Write(t.Context(), dir); err != nil || len(left) > 0 {
		t.Fatalf("%v, left %v", err, left)
	}
}

// written is the fixture's bundle, made once: its bundle.json and plan.ir's module.
var written = sync.OnceValue(func() (w struct {
	data   []byte
	module *ir.Module
}) {
	b, _ := twoBundles()
	dir, err := os.MkdirTemp("", "smelt-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if _, err := b.Write(context.Background(), dir); err != nil {
		panic(err)
	}
	if w.data, err = os.ReadFile(filepath.Join(dir, documentName)); err != nil {
		panic(err)
	}
	b, err = Read(dir)
	if err != nil {
		panic(err)
	}
	w.module = b.Module
	return w
})

// taken is what opening does with a bundle.json beside the fixture's other files.
func taken(data []byte) (*Bundle, error) {
	doc, err := parseDocument(documentName, data)
	if err != nil {
		return nil, err
	}
	return doc.replan(written().module, data)
}

// FuzzDocument reads whatever bundle.json may hold, sealed again: no panic, and a
// document that is taken has the plan that the compiler makes.
func FuzzDocument(f *testing.F) {
	whole := written().data
	f.Add(whole[:len(whole)-sealBytes])
	f.Add([]byte(`{"format":7`))
	f.Add([]byte(`{"format":7,"steps":[{},{}],"symbols":[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := taken(resealed(data))
		if err != nil {
			return
		}
		if err := b.Plan.Check(b.Module); err != nil {
			t.Fatalf("a plan was taken that does not hold: %v", err)
		}
		if len(b.Plan.Kernels) == 0 || len(b.Params) != len(b.Module.Params) {
			t.Fatal("a plan without kernels or parameters was taken")
		}
	})
}
