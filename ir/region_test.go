package ir_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/fault"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
	"smelt.example/smelt/ir/text"
)

func refs(values []*ir.Value) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.Ref()
	}
	return strings.Join(out, " ")
}

// regions builds a module with two regions: @in yields a value and a version, @out a result.
func regions(t *testing.T) *ir.Module {
	t.Helper()
	s := newStart()
	var root, st, out *ir.Value
	s.Region("norm", "in", func() {
		root = s.Add(ops.Sqrt, nil, s.x)
		st = s.Add(ops.Append, nil, s.state(), s.slot, s.position, root)
		root = s.Add(ops.Sqrt, nil, root)
	})
	index := s.Add(ops.IndexRange, ops.IndexRangeAttr{First: ir.Sym("i"), Count: ir.Const(1), Limit: ir.Sym("i").Add(ir.Const(1))}, s.position)
	s.Region("mix", "out", func() {
		read := s.Add(ops.Read, ops.ReadAttr{}, st, s.slot, index)
		out = s.Add(ops.Add, nil, s.Add(ops.Reshape, shape(ir.Sym("T"), ir.Const(4)), read), root)
	})
	s.Return(out)
	m, err := s.Module()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRegions(t *testing.T) {
	m := regions(t)
	for i, want := range []struct{ name, yields, inputs string }{
		{"in", "%8 %9", "%x %slot %position"},
		{"out", "%13", "%8 %slot %10 %9"},
	} {
		r := m.Regions[i]
		if r.Name != want.name || refs(r.Yields) != want.yields || refs(r.Inputs(m)) != want.inputs {
			t.Errorf("region @%s yields %s and uses %s", r.Name, refs(r.Yields), refs(r.Inputs(m)))
		}
		for _, n := range m.Body(r) {
			if m.RegionOf()[n] != r {
				t.Errorf("%s is not in @%s", n.Result.Ref(), r.Name)
			}
		}
	}
	if got := len(m.RegionOf()); got != 7 || len(m.Body(m.Regions[0])) != 4 {
		t.Errorf("%d nodes are in regions, %d in the first", got, len(m.Body(m.Regions[0])))
	}
}

// TestVerifyRegions breaks the regions of a correct module in one place at a time.
func TestVerifyRegions(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(m *ir.Module, r []*ir.Region)
		index int
		want  string
	}{
		{"kind", func(m *ir.Module, r []*ir.Region) { r[1].Kind = "" }, 1, `region @out: kind "" is not a name`},
		{"name", func(m *ir.Module, r []*ir.Region) { r[0].Name = "a b" }, 0, `region @a b: not a name, or declared twice`},
		{"name twice", func(m *ir.Module, r []*ir.Region) { r[1].Name = "in" }, 1, `region @in: not a name, or declared twice`},
		{"empty", func(m *ir.Module, r []*ir.Region) { r[0].To = r[0].From }, 0, `region @in is empty`},
		{"backwards", func(m *ir.Module, r []*ir.Region) { r[0].To = r[0].From - 1 }, 0, `region @in: [2, 1) is not a range of operations from 0 to 10`},
		{"before the first", func(m *ir.Module, r []*ir.Region) { r[0].From = -1 }, 0, `region @in: [-1, 6) is not a range of operations from 0 to 10`},
		{"overlap", func(m *ir.Module, r []*ir.Region) { r[1].From = 5 }, 1, `region @out: [5, 10) is not a range of operations from 6 to 10`},
		{"descending", func(m *ir.Module, r []*ir.Region) { m.Regions[0], m.Regions[1] = r[1], r[0] }, 1, `region @in: [2, 6) is not a range of operations from 10 to 10`},
		{"too long", func(m *ir.Module, r []*ir.Region) { r[1].To++ }, 1, `region @out: [7, 11) is not a range of operations from 6 to 10`},
		{"value not yielded", func(m *ir.Module, r []*ir.Region) { r[0].Yields = r[0].Yields[:1] }, 0, `region @in: %9 is used outside and not among the yields`},
		{"version not yielded", func(m *ir.Module, r []*ir.Region) { r[0].Yields = r[0].Yields[1:] }, 0, `region @in: %8 is used outside and not among the yields`},
		{"result not yielded", func(m *ir.Module, r []*ir.Region) { r[1].Yields = nil }, 1, `region @out: %13 is used outside and not among the yields`},
		{"yield of another", func(m *ir.Module, r []*ir.Region) { r[1].Yields = r[0].Yields }, 1, `region @out: yields %8, which it does not define`},
		{"yield of an input", func(m *ir.Module, r []*ir.Region) { r[1].Yields = m.Inputs }, 1, `region @out: yields %token, which it does not define`},
		{"yield nil", func(m *ir.Module, r []*ir.Region) { r[1].Yields = []*ir.Value{nil} }, 1, `region @out: yields %<nil>, which it does not define`},
		{"yield twice", func(m *ir.Module, r []*ir.Region) { r[0].Yields = append(r[0].Yields, r[0].Yields[0]) }, 0, `region @in: yields %8 twice`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := regions(t)
			c.spoil(m, slices.Clone(m.Regions))
			err := ir.Verify(m)
			if err == nil || err.Error() != "module @m: "+c.want {
				t.Fatalf("error %v\nwant  module @m: %s", err, c.want)
			}
			var f *fault.Error
			if !errors.As(err, &f) || f.Part != fault.Regions || f.Index != c.index {
				t.Errorf("fault in part %d at %d", f.Part, f.Index)
			}
		})
	}
}

// TestMoreYields: a region may yield what nothing outside uses, in any order.
func TestMoreYields(t *testing.T) {
	m := regions(t)
	first := m.Regions[0]
	body := m.Body(first)
	first.Yields = []*ir.Value{body[3].Result, body[0].Result, body[2].Result}
	if err := ir.Verify(m); err != nil {
		t.Error(err)
	}
}

func TestRegionsDoNotNest(t *testing.T) {
	s := newStart()
	s.Region("norm", "outer", func() {
		s.Region("norm", "inner", func() { s.Add(ops.Sqrt, nil, s.x) })
	})
	s.Return(s.x)
	if _, err := s.Module(); err == nil || err.Error() != "region @inner is inside region @outer; regions do not nest" {
		t.Errorf("error %v", err)
	}
}

// attentionModule reads the evaluator's test module, attention over a window.
func attentionModule(t *testing.T) *ir.Module {
	t.Helper()
	src, err := os.ReadFile("../internal/ir/eval/testdata/attention.ir")
	if err != nil {
		t.Fatal(err)
	}
	m, err := text.Parse("attention.ir", string(src))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// same runs two modules over some rows, one by one, and compares bits.
func same(t *testing.T, a, b *ir.Module) {
	t.Helper()
	w := randomWeights(a)
	results := func(m *ir.Module) (out []float64) {
		ma := machine(t, m, w)
		for _, r := range rows(5, 3, 0, 7, 9, 5) {
			got, err := ma.Step([]ir.Row{r}, []int{0})
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, got[0].F...)
		}
		return out
	}
	if x, y := results(a), results(b); len(x) == 0 || !slices.Equal(x, y) {
		t.Errorf("results %v and %v", x, y)
	}
}
