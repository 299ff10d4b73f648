package eval_test

import (
	"os"
	"testing"

	"golang.org/x/tools/txtar"

	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
	"smelt.example/smelt/ir/text"
)

// FuzzStep runs whatever parses, on a few rows: a step may fail, it may not panic.
func FuzzStep(f *testing.F) {
	src, err := os.ReadFile("testdata/attention.ir")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(src))
	archive, err := txtar.ParseFile("../../../ir/text/testdata/modules.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range archive.Files {
		f.Add(string(file.Data))
	}
	in := append(rows(0, 0, 1, 0, 3, 2), rows(1, 0, 5)...)
	f.Fuzz(func(t *testing.T, src string) {
		m, err := text.Parse("fuzz", src)
		if err != nil || !small(m) {
			return
		}
		ma, err := eval.New[float32](m, func(name string) tensor.Source {
			cols, n := int64(1), int64(1)
			for _, d := range m.Param(name).Type.Shape {
				cols, _ = d.Value()
				n *= cols
			}
			return random(1, int(n/cols), int(cols))
		})
		if err != nil {
			return
		}
		for _, wanted := range [][]int{nil, {0, 4}} {
			out, err := ma.Step(in, wanted)
			for i, v := range out {
				if n := len(v.Dense()) + len(v.I); err == nil && n != tensor.Len(v.Shape) {
					t.Errorf("result %d has %d elements and shape %v", i, n, v.Shape)
				}
			}
			ma.Reset(0)
			ma.Reset(1)
		}
	})
}

// small keeps modules that cost little: the fuzzer looks for panics, not for
// large allocations, which the evaluator allows.
func small(m *ir.Module) bool {
	const most = 1 << 16
	fits := func(t ir.Type) bool {
		n := int64(1)
		for _, d := range t.Shape {
			size, err := d.Eval(func(string) (int64, bool) { return 5, true })
			if err != nil || size > most || n*max(size, 1) > most {
				return false
			}
			n *= max(size, 1)
		}
		return true
	}
	for _, p := range m.Params {
		if !fits(p.Type) {
			return false
		}
	}
	for _, n := range m.Nodes {
		if a, ok := n.Attr.(ops.SinkhornAttr); !fits(n.Result.Type) || ok && a.Iters > 100 {
			return false
		}
	}
	return len(m.Nodes) < 200
}
