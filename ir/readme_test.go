package ir_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

// readme returns the modules of README.md by name.
func readme(t *testing.T) map[string]*ir.Module {
	t.Helper()
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	modules := map[string]*ir.Module{}
	for i, part := range strings.Split(string(page), "```ir\n")[1:] {
		src, _, closed := strings.Cut(part, "```")
		if !closed {
			t.Fatalf("block %d is not closed", i)
		}
		m, err := text.Parse(fmt.Sprintf("README.md, block %d", i), src)
		if err != nil {
			t.Fatal(err)
		}
		if got := text.String(m); got != src {
			t.Errorf("module @%s prints as\n%s", m.Name, got)
		}
		modules[m.Name] = m
	}
	return modules
}

// randomWeights gives every parameter of a module fixed random values.
func randomWeights(m *ir.Module) map[string]tensor.Matrix {
	r := rand.New(rand.NewPCG(7, 0))
	out := map[string]tensor.Matrix{}
	for _, p := range m.Params {
		n, cols := int64(1), int64(1)
		for _, d := range p.Type.Shape {
			cols, _ = d.Value()
			n *= cols
		}
		v := tensor.NewMatrix(make([]float64, n), int(cols))
		for i := range v.Values {
			v.Values[i] = float64(float32(r.NormFloat64()))
		}
		out[p.Name] = v
	}
	return out
}

func machine(t *testing.T, m *ir.Module, w map[string]tensor.Matrix) *eval.Machine[float64] {
	t.Helper()
	ma, err := eval.New[float64](m, func(name string) tensor.Source { return w[name] })
	if err != nil {
		t.Fatal(err)
	}
	return ma
}

func rows(tokens ...int32) (out []ir.Row) {
	for p, token := range tokens {
		out = append(out, ir.Row{Token: token, Position: int32(p)})
	}
	return out
}

func TestReadmeLookUp(t *testing.T) {
	m := readme(t)["look_up"]
	w := randomWeights(m)
	out, err := machine(t, m, w).Step(rows(5, 63, 0), []int{1})
	if err != nil {
		t.Fatal(err)
	}
	if want := w["embed"].Values[63*8:]; !slices.Equal(out[0].F, want) {
		t.Errorf("got %v, want %v", out[0].F, want)
	}
}

// TestReadmeRegions: the page's fused module is what Regroup makes of the first.
func TestReadmeRegions(t *testing.T) {
	modules := readme(t)
	m := modules["look_up"]
	m.Name = "look_up_fused"
	got, err := ir.Regroup(m, []ir.Group{{Kind: "embed", Name: "start", Nodes: m.Nodes[:2]}})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := text.String(got), text.String(modules["look_up_fused"]); a != b {
		t.Errorf("got\n%s\nthe page has\n%s", a, b)
	}
	same(t, m, got)
}

func TestReadmeBlocks(t *testing.T) {
	ma := machine(t, readme(t)["blocks"], nil)
	ma.Observe = func(name string, v tensor.Value[float64]) {
		if name == "ends" && !slices.Equal(v.I, []int32{3}) {
			t.Errorf("ends is %v", v.I)
		}
	}
	out, err := ma.Step(rows(9, 9, 9, 9, 9, 9), nil)
	if err != nil {
		t.Fatal(err)
	}
	if block, seen := out[0].I, out[1].I; !slices.Equal(block, []int32{0}) || !slices.Equal(seen, []int32{-1, -1, -1, 0, 0, 0}) {
		t.Errorf("block %v, seen %v", block, seen)
	}
}

// TestReadmeAttention compares the page's layer with one written in loops.
func TestReadmeAttention(t *testing.T) {
	m := readme(t)["attention"]
	w := randomWeights(m)
	tokens := []int32{3, 0, 15, 3, 7, 9, 1}
	out, err := machine(t, m, w).Step(rows(tokens...), []int{0, 1, 2, 3, 4, 5, 6})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range attentionInLoops(w, tokens) {
		if got := out[0].F[i]; math.Abs(got-want) > 1e-12 {
			t.Errorf("element %d is %v, want %v", i, got, want)
		}
	}
}

// attentionInLoops computes the layer for positions 0, 1, ...
func attentionInLoops(w map[string]tensor.Matrix, tokens []int32) (out []float64) {
	times := func(name string, x []float64) []float64 { // the matrix times x
		p := w[name]
		y := make([]float64, p.Rows())
		for i := range y {
			for k, v := range x {
				y[i] += p.Values[i*p.Width+k] * v
			}
		}
		return y
	}
	rotate := func(v []float64, angle float64) { // the last pair; its frequency is 1
		sin, cos := math.Sincos(angle)
		v[2], v[3] = v[2]*cos-v[3]*sin, v[2]*sin+v[3]*cos
	}
	var keys [][]float64
	for p, token := range tokens {
		x := w["embed"].Values[token*8 : token*8+8]
		square, normed := 0.0, make([]float64, 8)
		for _, v := range x {
			square += v * v
		}
		for i, v := range x {
			normed[i] = v / math.Sqrt(square/8+1e-6) * w["norm"].Values[i]
		}
		kv := times("wkv", normed)
		rotate(kv, float64(p))
		keys = append(keys, kv)
		q, mix := times("wq", normed), make([]float64, 8)
		for h := range 2 {
			head, into := q[h*4:h*4+4], mix[h*4:h*4+4]
			rotate(head, float64(p))
			visible := keys[max(0, p-3):]
			sum := math.Exp(w["sink"].Values[h])
			for _, k := range visible {
				dot := 0.0
				for i := range k {
					dot += head[i] * k[i]
				}
				e := math.Exp(dot / 2)
				sum += e
				for i := range k {
					into[i] += e * k[i]
				}
			}
			for i := range into {
				into[i] /= sum
			}
			rotate(into, -float64(p))
		}
		for i, v := range times("wo", mix) {
			out = append(out, x[i]+v)
		}
	}
	return out
}
