package checkpoint

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/models/schema"
	"smelt.example/smelt/ir"
)

// param declares a parameter of real numbers.
func param(name string, dims ...int) *ir.Param {
	return &ir.Param{Name: name, Type: ir.Tensor(ir.F32, ir.Dims(dims...)...)}
}

func table(name string, dims ...int) *ir.Param {
	return &ir.Param{Name: name, Type: ir.Tensor(ir.I32, ir.Dims(dims...)...)}
}

// bf16 is a tensor of numbers that all differ.
func bf16(name string, shape ...int64) safetensors.Out {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	out := safetensors.Out{Name: name, DType: safetensors.BF16, Shape: shape}
	for i := range n {
		out.Data = append(out.Data, byte(i), byte(0x40+i>>8)) // from 2 upwards, all exact
	}
	return out
}

func raw(name string, dt safetensors.DType, data []byte, shape ...int64) safetensors.Out {
	return safetensors.Out{Name: name, DType: dt, Shape: shape, Data: data}
}

// rules is a layout named "test" whose tensors all start with "s.".
func rules(rs ...schema.Rule) []schema.Layout {
	return []schema.Layout{{Name: "test", Marks: []string{"s."}, Rules: rs}}
}

func at(param, stem string, fused ...string) schema.Rule {
	return schema.Rule{Param: param, Places: []schema.Place{{Stem: stem, Fused: fused}}}
}

func openTensors(t testing.TB, outs ...safetensors.Out) *Checkpoint {
	t.Helper()
	return mustOpen(t, folder{map[string][]safetensors.Out{"model.safetensors": outs}, map[string]string{"config.json": "{}"}}.write(t))
}

func mustBind(t testing.TB, c *Checkpoint, layouts []schema.Layout, params ...*ir.Param) *Binding {
	t.Helper()
	b, err := Bind(c, schema.Model{Graph: &ir.Module{Params: params}, Layouts: layouts})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantRows compares a parameter's rows with those of the stored matrix that
// number maps them to.
func wantRows(t *testing.T, p *Param, enc encoding.Encoding, planes encoding.Planes, number func(r int) int) {
	t.Helper()
	s := p.Source()
	if s.Rows() != p.Rows || s.Cols() != p.Cols {
		t.Fatalf("%s: source of %d x %d, want %d x %d", p.Name, s.Rows(), s.Cols(), p.Rows, p.Cols)
	}
	g32, w32, g64, w64 := make([]float32, p.Cols), make([]float32, p.Cols), make([]float64, p.Cols), make([]float64, p.Cols)
	for r := range p.Rows {
		s.Row32(g32, r)
		s.Row64(g64, r)
		encoding.Decode(enc, w32, planes, number(r))
		encoding.Decode(enc, w64, planes, number(r))
		if !slices.Equal(g32, w32) || !slices.Equal(g64, w64) {
			t.Fatalf("%s row %d = %v, stored row %d is %v", p.Name, r, g64, number(r), w64)
		}
	}
}

// TestFused: each parameter gets its own rows of a tensor stored for several,
// of unequal heights, also stacked over a leading dimension.
func TestFused(t *testing.T) {
	const k = 4
	three := []string{"l.{l}.a", "l.{l}.b", "l.{l}.c"}
	layout := rules(at("l.{l}.a", "s.{l}.abc", three...), at("l.{l}.b", "s.{l}.abc", three...), at("l.{l}.c", "s.{l}.abc", three...))
	heights, starts := []int{3, 1, 2}, []int{0, 3, 4}
	t.Run("flat", func(t *testing.T) {
		out := bf16("s.7.abc.weight", 6, k)
		b := mustBind(t, openTensors(t, out), layout, param("l.7.b", 1, k), param("l.7.a", 3, k), param("l.7.c", 2, k))
		for i, name := range []string{"l.7.a", "l.7.b", "l.7.c"} {
			p := b.Param(name)
			if len(p.Views) != 1 || p.Views[0].StoredFirst != starts[i] || p.Views[0].Rows != heights[i] {
				t.Errorf("%s: views %+v", name, p.Views)
			}
			wantRows(t, p, encoding.Plain{DType: encoding.BF16}, encoding.Planes{Weight: out.Data}, func(r int) int { return starts[i] + r })
		}
	})
	for _, shape := range [][]int64{{5, 6, k}, {30, k}} {
		t.Run(fmt.Sprint("stacked as ", shape), func(t *testing.T) {
			out := bf16("s.7.abc.weight", shape...)
			b := mustBind(t, openTensors(t, out), layout, param("l.7.a", 5, 3, k), param("l.7.b", 5, 1, k), param("l.7.c", 5, 2, k))
			for i, name := range []string{"l.7.a", "l.7.b", "l.7.c"} {
				p := b.Param(name)
				if len(p.Views) != 5 {
					t.Errorf("%s: %d views, want one for each leading index", name, len(p.Views))
				}
				h := heights[i]
				wantRows(t, p, encoding.Plain{DType: encoding.BF16}, encoding.Planes{Weight: out.Data}, func(r int) int { return r/h*6 + starts[i] + r%h })
			}
		})
	}
}

// TestFusedBlocks: the halves of a fused FP8 matrix need not end at a block of
// 128 rows; each row keeps the scale of the block it lies in.
func TestFusedBlocks(t *testing.T) {
	const rowsA, rowsB, k = 96, 205, 160
	const seed = 5
	r := rand.New(rand.NewPCG(seed, 0))
	values := make([]float64, (rowsA+rowsB)*k)
	for i := range values {
		values[i] = r.NormFloat64() * float64(1+i/k/64) // other scales further down
	}
	planes, err := encoding.Encode(encoding.FP8Block{}, values, rowsA+rowsB, k)
	if err != nil {
		t.Fatal(err)
	}
	two := []string{"a", "b"}
	c := openTensors(t, raw("s.ab.weight", safetensors.F8E4M3, planes.Weight, rowsA+rowsB, k), raw("s.ab.scale", safetensors.F8E8M0, planes.Scales, 3, 2))
	b := mustBind(t, c, rules(at("a", "s.ab", two...), at("b", "s.ab", two...)), param("a", rowsA, k), param("b", rowsB, k))
	wantRows(t, b.Param("a"), encoding.FP8Block{}, planes, func(r int) int { return r })
	wantRows(t, b.Param("b"), encoding.FP8Block{}, planes, func(r int) int { return rowsA + r })
	if planes.Scales[0] == planes.Scales[2] {
		t.Errorf("seed %d: the blocks have one scale, the test shows nothing", seed)
	}
}

// TestPieces: one tensor per leading index, each in its own encoding.
func TestPieces(t *testing.T) {
	const rows, k = 2, 64
	encs := []encoding.Encoding{encoding.Plain{DType: encoding.F32}, encoding.Affine{Bits: 3, Group: 32, Scale: encoding.F16}, encoding.MX{Bits: 8}, encoding.FP4{}}
	var outs []safetensors.Out
	var planes []encoding.Planes
	r := rand.New(rand.NewPCG(6, 0))
	for n, e := range encs {
		values := make([]float64, rows*k)
		for i := range values {
			values[i] = r.NormFloat64()
		}
		p, err := encoding.Encode(e, values, rows, k)
		if err != nil {
			t.Fatal(err)
		}
		planes = append(planes, p)
		ds, err := e.Planes(rows, k)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			suffix := map[encoding.Role]string{encoding.Weight: ".weight", encoding.Scales: ".scales", encoding.Biases: ".biases"}[d.Role]
			outs = append(outs, raw(fmt.Sprintf("s.3.p.%d%s", n, suffix), safetensors.DType(d.DType), p.Of(d.Role), int64(d.Rows), int64(d.Cols)))
		}
	}
	layout := rules(schema.Rule{Param: "l.{l}.p", Places: []schema.Place{{Stem: "s.{l}.p.whole"}, {Stem: "s.{l}.p.{n}", Note: "in pieces"}}})
	graph := param("l.3.p", 4, rows, k)
	b := mustBind(t, openTensors(t, outs...), layout, graph)
	p := b.Param("l.3.p")
	if graph.Encoding != "mixed" || p.Encoding() != "mixed" || !slices.Equal(b.Forms, []string{"in pieces"}) {
		t.Errorf("encoding %q, forms %q", graph.Encoding, b.Forms)
	}
	got, want := make([]float32, k), make([]float32, k)
	for r := range 4 * rows {
		p.Source().Row32(got, r)
		encoding.Decode(encs[r/rows], want, planes[r/rows], r%rows)
		if !slices.Equal(got, want) {
			t.Errorf("row %d (%s) = %v, want %v", r, encs[r/rows].Name(), got, want)
		}
	}
	if b.Param("none") != nil {
		t.Error("a parameter that does not exist was found")
	}
}

// TestBindFindings: faults that no layout of this repository can have, and
// those of its tables.
func TestBindFindings(t *testing.T) {
	w := bf16("s.w.weight", 6, 4)
	tests := []struct {
		name   string
		outs   []safetensors.Out
		layout []schema.Layout
		params []*ir.Param
		want   []string
	}{
		{"two parameters of one tensor", []safetensors.Out{w}, rules(at("a", "s.w"), at("b", "s.w")), []*ir.Param{param("a", 6, 4), param("b", 6, 4)},
			[]string{"1 tensor claimed by two parameters; report this layout", "s.w.weight BF16[6 4] (model.safetensors)"}},
		{"no rule", []safetensors.Out{w}, rules(at("a", "s.w")), []*ir.Param{param("a", 6, 4), param("l.1.b", 2, 2)},
			[]string{"1 parameter of the model not found", "l.1.b: layout test has no rule for it"}},
		{"partner not in the graph", []safetensors.Out{w}, rules(at("a", "s.w", "a", "b")), []*ir.Param{param("a", 6, 4)},
			[]string{"a: is stored together with b, which the graph lacks"}},
		{"half of a fused tensor unused", []safetensors.Out{w, bf16("s.b.weight", 2, 4)}, rules(at("a", "s.w", "a", "b"), at("b", "s.b")), []*ir.Param{param("a", 4, 4), param("b", 2, 4)},
			[]string{"1 tensor used by no parameter", "s.w.weight BF16[6 4] (model.safetensors): rows 4 to 5"}},
		{"fused tensor of another width", []safetensors.Out{w}, rules(at("a", "s.w", "a", "b"), at("b", "s.w", "a", "b")), []*ir.Param{param("a", 4, 8), param("b", 2, 8)},
			[]string{"1 tensor stored in a way", "s.w.weight BF16[6 4] (model.safetensors) for a over b: expected"}},
		{"a stack whose FP8 blocks would straddle, by chance of the same number of scales",
			[]safetensors.Out{raw("s.w.weight", safetensors.F8E4M3, make([]byte, 2*120), 2, 120, 1), raw("s.w.scale", safetensors.F8E8M0, make([]byte, 2), 2, 1, 1)},
			rules(at("a", "s.w")), []*ir.Param{param("a", 2, 120, 1)},
			[]string{"1 tensor stored in a way", "expected a multiple of 128 rows in each of the stacked matrices", "found 120"}},
		{"no layout", []safetensors.Out{bf16("x.w", 1)}, rules(at("a", "s.w")), []*ir.Param{param("a", 1)},
			[]string{"the tensors' names are of no layout smelt knows", "expected for test: s.*", "found x.w BF16[1] (model.safetensors) (1 of 1 tensors)"}},
		{"a name with a literal placeholder is not ignored", []safetensors.Out{w, bf16("x.{l}.w", 1)}, rules(at("a", "s.w")), []*ir.Param{param("a", 6, 4)},
			[]string{"1 tensor used by no parameter", "x.{l}.w"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, err := Bind(openTensors(t, test.outs...), schema.Model{Graph: &ir.Module{Params: test.params}, Layouts: test.layout, Ignores: []schema.Ignore{{Prefix: "x.{l}.", Reason: "test"}}})
			if err == nil || b != nil {
				t.Fatalf("bound: %+v", b)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error lacks %q:\n%v", part, err)
				}
			}
			if test.params[0].Encoding != "" {
				t.Error("the graph was changed though binding failed")
			}
		})
	}
}

// TestIgnored counts what an ignore rule leaves unused; the rest is bound.
func TestIgnored(t *testing.T) {
	c := openTensors(t, bf16("s.w.weight", 6, 4), bf16("x.0.a", 3), bf16("x.12.b.scale", 2, 2), bf16("y", 1))
	b, err := Bind(c, schema.Model{Graph: &ir.Module{Params: []*ir.Param{param("a", 6, 4)}}, Layouts: rules(at("a", "s.w")),
		Ignores: []schema.Ignore{{Prefix: "x.{l}.", Reason: "not used yet"}, {Prefix: "z.", Reason: "never there"}, {Prefix: "y", Reason: "odd"}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Ignored{{"x.{l}.", "not used yet", 2, 14}, {"y", "odd", 1, 2}}
	if !slices.Equal(b.Ignored, want) {
		t.Errorf("ignored %+v, want %+v", b.Ignored, want)
	}
}

// BenchmarkBind binds as many experts as V4-Flash has, apart, in FP4.
func BenchmarkBind(b *testing.B) {
	const layers, experts = 43, 256
	var outs []safetensors.Out
	var params []*ir.Param
	data := make([]byte, 16)
	for l := range layers {
		params = append(params, param(fmt.Sprintf("l.%d.e", l), experts, 1, 32))
		for e := range experts {
			stem := fmt.Sprintf("s.%d.experts.%d.w1", l, e)
			outs = append(outs, raw(stem+".weight", safetensors.I8, data, 1, 16), raw(stem+".scale", safetensors.F8E8M0, data[:1], 1, 1))
		}
	}
	dir := folder{nil, map[string]string{"config.json": "{}"}}.write(b)
	if err := safetensors.Write(filepath.Join(dir, "model.safetensors"), outs, nil); err != nil {
		b.Fatal(err)
	}
	c := mustOpen(b, dir)
	layout := rules(at("l.{l}.e", "s.{l}.experts.{n}.w1"))
	b.ReportAllocs()
	for b.Loop() {
		mustBind(b, c, layout, params...)
	}
}
