package passes

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// The tests here change one operation of a region's body at a time. A view
// that does not notice stands for another computation than its body.

// eachOperation calls f with every operation of every region of testdata/fuse.
func eachOperation(t *testing.T, f func(t *testing.T, m *ir.Module, n *ir.Node)) {
	for _, path := range fuseFiles(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == "out.ir" })
			m := parse(t, string(a.Files[at].Data))
			for _, r := range m.Regions {
				for _, n := range m.Body(r) {
					f(t, m, n)
				}
			}
		})
	}
}

// change rewrites one operation; nil if the types do not allow it.
func change(m *ir.Module, target *ir.Node, with func(b *ir.Rebuild) *ir.Value) *ir.Module {
	out, err := ir.Rewrite(m, func(b *ir.Rebuild, n *ir.Node) *ir.Value {
		if n == target {
			return with(b)
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return out
}

// viewed is the print of a module's views, or false if a region has none.
func viewed(t *testing.T, m *ir.Module) (string, bool) {
	for _, r := range m.Regions {
		if _, err := fusion.View(m, r); err != nil {
			return "", false
		}
	}
	return views(t, m), true
}

// TestInserted: an operation more, behind any other, leaves no view.
func TestInserted(t *testing.T) {
	tried := 0
	eachOperation(t, func(t *testing.T, m *ir.Module, n *ir.Node) {
		mutant := change(m, n, func(b *ir.Rebuild) *ir.Value {
			switch v := b.Copy(n); {
			case v.Type.State || n.Op == ops.Dequantize && v.Type.Elem == ir.I32:
				return v
			case v.Type.Elem == ir.I32:
				return b.Add(ops.IndexMap, ops.IndexMapAttr{To: ir.Sym("i").Add(ir.Const(1))}, v)
			default:
				return b.Add(ops.Sqrt, nil, v)
			}
		})
		if mutant == nil || len(mutant.Nodes) == len(m.Nodes) {
			return
		}
		tried++
		if _, ok := viewed(t, mutant); ok {
			t.Errorf("%s = %s: an operation behind it is not noticed", n.Result.Ref(), n.Op.Name)
		}
	})
	if tried < 300 {
		t.Errorf("only %d changes were possible", tried)
	}
}

// TestChangedAttributes: a changed field of an attribute leaves no view or
// stands in it.
func TestChangedAttributes(t *testing.T) {
	tried := 0
	eachOperation(t, func(t *testing.T, m *ir.Module, n *ir.Node) {
		if n.Attr == nil {
			return
		}
		for i := range reflect.TypeOf(n.Attr).NumField() {
			attr := reflect.New(reflect.TypeOf(n.Attr)).Elem()
			attr.Set(reflect.ValueOf(n.Attr))
			name := attr.Type().Field(i).Name
			if name == "Axis" && n.Args[0].Type.Rank() == 1 || !nudge(attr.Field(i)) {
				continue // 0 and -1 are one axis
			}
			mutant := change(m, n, func(b *ir.Rebuild) *ir.Value {
				return b.AddNaming(n.Op, attr.Interface(), n.Symbol, translated(b, n.Args)...)
			})
			if mutant == nil {
				continue
			}
			tried++
			if got, ok := viewed(t, mutant); ok && got == views(t, m) {
				t.Errorf("%s = %s: a change of %s is not noticed", n.Result.Ref(), n.Op.Name, name)
			}
		}
	})
	if tried < 200 {
		t.Errorf("only %d changes were possible", tried)
	}
}

// nudge changes a field a little, and reports whether it could.
func nudge(f reflect.Value) bool {
	switch x := f.Interface().(type) {
	case int:
		f.SetInt(int64(x) + 1)
	case float64:
		if x-1 == x { // an infinity
			f.SetFloat(1)
		} else {
			f.SetFloat(x + 1)
		}
	case bool:
		f.SetBool(!x)
	case ir.Expr:
		f.Set(reflect.ValueOf(x.Add(ir.Const(1))))
	default:
		return false
	}
	return true
}

func translated(b *ir.Rebuild, args []*ir.Value) []*ir.Value {
	out := make([]*ir.Value, len(args))
	for i, a := range args {
		out[i] = b.Value(a)
	}
	return out
}

// TestSwappedOperands: sums and products may be written either way; for all
// other operations the order counts.
func TestSwappedOperands(t *testing.T) {
	tried := 0
	eachOperation(t, func(t *testing.T, m *ir.Module, n *ir.Node) {
		if len(n.Args) < 2 || n.Args[0] == n.Args[1] {
			return
		}
		mutant := change(m, n, func(b *ir.Rebuild) *ir.Value {
			args := translated(b, n.Args)
			args[0], args[1] = args[1], args[0]
			return b.AddNaming(n.Op, n.Attr, n.Symbol, args...)
		})
		if mutant == nil {
			return
		}
		tried++
		got, ok := viewed(t, mutant)
		same := ok && got == views(t, m)
		if free := n.Op == ops.Add || n.Op == ops.Mul; same != free {
			t.Errorf("%s = %s: with swapped operands it has the same view: %v", n.Result.Ref(), n.Op.Name, same)
		}
	})
	if tried < 60 {
		t.Errorf("only %d changes were possible", tried)
	}
}

// TestSharedOperations: a value inside that something outside uses leaves no view.
func TestSharedOperations(t *testing.T) {
	tried := 0
	eachOperation(t, func(t *testing.T, m *ir.Module, n *ir.Node) {
		r := m.RegionOf()[n]
		if n.Result.Type.State || slices.Contains(r.Yields, n.Result) || results(t, m, r)[n.Result.Ref()] {
			return
		}
		tried++
		mutant := *m
		mutant.Results = append(slices.Clone(m.Results), n.Result)
		region := *r
		region.Yields = append(slices.Clone(r.Yields), n.Result)
		mutant.Regions = slices.Clone(m.Regions)
		mutant.Regions[slices.Index(m.Regions, r)] = &region
		if err := ir.Verify(&mutant); err != nil {
			t.Fatal(err)
		}
		if _, ok := viewed(t, &mutant); ok {
			t.Errorf("%s = %s: a use outside is not noticed", n.Result.Ref(), n.Op.Name)
		}
	})
	if tried < 300 {
		t.Errorf("only %d values were tried", tried)
	}
}

// results are the values that a region's view names.
func results(t *testing.T, m *ir.Module, r *ir.Region) map[string]bool {
	t.Helper()
	v, err := fusion.View(m, r)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	collect(out, reflect.ValueOf(v))
	return out
}

func collect(out map[string]bool, v reflect.Value) {
	if x, ok := v.Interface().(*ir.Value); ok {
		out[x.Ref()] = true
		return
	}
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil():
		collect(out, v.Elem())
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			collect(out, v.Field(i))
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			collect(out, v.Index(i))
		}
	}
}

// TestAbsentSteps: what may be missing from a fusion may be missing, and the
// view says so.
func TestAbsentSteps(t *testing.T) {
	for _, c := range []struct {
		file string
		op   *ir.Op
		gone string // from the view
	}{
		{"fuse-experts.scored", ops.Clamp, "Limit"},
		{"fuse-experts.hashed", ops.Scale, "Scale 1.5"},
		{"fuse-linear.gated", ops.Clamp, "Limit"},
		{"fuse-linear.finished", ops.Hadamard, "Hadamard"},
		{"fuse-linear.finished", ops.RoundTo, "Round"},
		{"fuse-linear.qkv_a", ops.Scale, "Scale 0.25"},
		{"fuse-attention.window", ops.RMSNorm, "QNorm"},
		{"fuse-attention.window", ops.Scale, "Scale 0.35"},
		{"fuse-cache.overlap", ops.RoundTo, "Round"},
		{"fuse-cache.overlap", ops.Hadamard, "Hadamard"},
		{"fuse-cache.window", ops.Rope, "Rope"},
	} {
		t.Run(fmt.Sprintf("%s without %s", c.file, c.op.Name), func(t *testing.T) {
			a, err := txtar.ParseFile("testdata/fuse/" + c.file + ".txtar")
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == "out.ir" })
			m := parse(t, string(a.Files[at].Data))
			without, err := ir.Rewrite(m, func(b *ir.Rebuild, n *ir.Node) *ir.Value {
				if n.Op != c.op {
					return nil
				}
				return b.Value(n.Args[0])
			})
			if err != nil {
				t.Fatal(err)
			}
			before, after := views(t, m), views(t, without)
			if !strings.Contains(before, c.gone) || strings.Contains(after, c.gone) {
				t.Errorf("%s: before\n%s\nafter\n%s", c.gone, before, after)
			}
		})
	}
}
