package eval_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/fmacheck"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

// random holds n x cols values of a fixed seed.
func random(seed uint64, n, cols int) tensor.Matrix {
	r := rand.New(rand.NewPCG(seed, 0))
	m := tensor.NewMatrix(make([]float64, n*cols), cols)
	for i := range m.Values {
		m.Values[i] = float64(float32(r.NormFloat64()))
	}
	return m
}

func weights(m map[string]tensor.Matrix) eval.Weights {
	return func(name string) tensor.Source {
		if p, ok := m[name]; ok {
			return p
		}
		return nil
	}
}

func parse(t testing.TB, src string) *ir.Module {
	t.Helper()
	m, err := text.Parse("test.ir", src)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// attention is a machine of testdata/attention.ir.
func attention[F tensor.Float](t testing.TB) *eval.Machine[F] {
	t.Helper()
	src, err := os.ReadFile("testdata/attention.ir")
	if err != nil {
		t.Fatal(err)
	}
	ma, err := eval.New[F](parse(t, string(src)), weights(map[string]tensor.Matrix{"embed": random(1, 16, 8), "key": random(2, 8, 8)}))
	if err != nil {
		t.Fatal(err)
	}
	return ma
}

// rows gives tokens to a slot from a position on.
func rows(slot int32, from int, tokens ...int32) []eval.Row {
	out := make([]eval.Row, len(tokens))
	for i, tok := range tokens {
		out[i] = eval.Row{Token: tok, Position: int32(from + i), Slot: slot}
	}
	return out
}

func all(n int) (wanted []int) {
	for i := range n {
		wanted = append(wanted, i)
	}
	return wanted
}

// step runs rows and returns a vector of 8 for each.
func step[F tensor.Float](t testing.TB, ma *eval.Machine[F], r []eval.Row) []F {
	t.Helper()
	out, err := ma.Step(r, all(len(r)))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out[0].Shape, []int{len(r), 8}) {
		t.Fatalf("result has shape %v", out[0].Shape)
	}
	return out[0].F
}

// TestAttention compares with attention written in loops.
func TestAttention(t *testing.T) {
	embed, key := random(1, 16, 8), random(2, 8, 8)
	tokens := []int32{3, 0, 15, 3, 7, 9, 1}
	dot := func(a, b []float64) (s float64) {
		for i := range a {
			s += a[i] * b[i]
		}
		return s
	}
	row := func(m tensor.Matrix, r int) []float64 { return m.Values[r*8 : r*8+8] }
	got := step(t, attention[float64](t), rows(0, 0, tokens...))
	for p, tok := range tokens {
		var keys [][]float64
		for q := max(0, p-3); q <= p; q++ {
			k := make([]float64, 8)
			for j := range k {
				k[j] = dot(row(embed, int(tokens[q])), row(key, j))
			}
			keys = append(keys, k)
		}
		weights, sum := make([]float64, len(keys)), 0.0
		for i, k := range keys {
			weights[i] = math.Exp(dot(row(embed, int(tok)), k))
			sum += weights[i]
		}
		for j := range 8 {
			want := 0.0
			for i, k := range keys {
				want += weights[i] / sum * k[j]
			}
			if math.Abs(got[p*8+j]-want) > 1e-12 {
				t.Errorf("position %d, element %d: %v, want %v", p, j, got[p*8+j], want)
			}
		}
	}
}

// TestCutsAndCompanions: how a prompt is cut and who else is in the step changes no bit.
func TestCutsAndCompanions(t *testing.T) {
	tokens := []int32{3, 0, 15, 3, 7, 9, 1, 4, 4}
	want := step(t, attention[float32](t), rows(0, 0, tokens...))
	const seed = 5
	r := rand.New(rand.NewPCG(seed, 0))
	for trial := range 20 {
		ma := attention[float32](t)
		var got []float32
		other := 0
		for at := 0; at < len(tokens); {
			n := 1 + r.IntN(len(tokens)-at)
			in := rows(5, at, tokens[at:at+n]...)
			at += n
			first := 0
			if r.IntN(2) == 0 { // another sequence goes before
				first = 1 + r.IntN(3)
				in = append(rows(2, other, slices.Repeat([]int32{int32(trial % 16)}, first)...), in...)
				other += first
			}
			got = append(got, step(t, ma, in)[first*8:]...)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d, trial %d: other bits than in one step", seed, trial)
		}
	}
}

// TestStepErrors: each bad step leaves the machine as it was, and the next
// correct step gives the bits it would have given.
func TestStepErrors(t *testing.T) {
	before, after := rows(1, 0, 3, 4, 5, 6, 7), rows(1, 5, 8, 9)
	clean := attention[float32](t)
	step(t, clean, before)
	want := step(t, clean, after)
	mixed := append(rows(1, 5, 8), rows(4, 0, 2)...)
	for _, c := range []struct {
		name   string
		rows   []eval.Row
		wanted []int
		want   string
	}{
		{"no rows", nil, nil, "a step needs at least one row"},
		{"gap", rows(1, 6, 1), nil, "row 0: slot 1 goes on at position 5, not 6"},
		{"again", rows(1, 4, 1), nil, "row 0: slot 1 goes on at position 5, not 4"},
		{"fresh slot", rows(2, 1, 1), nil, "row 0: slot 2 goes on at position 0, not 1"},
		{"gap inside", append(rows(1, 5, 1), rows(1, 7, 1)...), nil, "row 1: slot 1 goes on at position 6, not 7"},
		{"backwards", append(rows(1, 6, 1), rows(1, 5, 1)...), nil, "row 0: slot 1 goes on at position 5, not 6"},
		{"negative position", rows(1, -1, 1), nil, "row 0: position -1 and slot 1 must be 0 or more"},
		{"negative slot", rows(-1, 0, 1), nil, "row 0: position 0 and slot -1 must be 0 or more"},
		{"wanted", rows(1, 5, 1), []int{0, 1}, "wanted row 1 is outside 1 rows"},
		{"negative wanted", rows(1, 5, 1), []int{-1}, "wanted row -1 is outside 1 rows"},
		{"token", rows(1, 5, 1, 16), nil, "%x = take_rows: index 16 is outside 16 rows"},
		{"negative token", rows(1, 5, -1), nil, "%x = take_rows: index -1 is outside 16 rows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ma := attention[float32](t)
			step(t, ma, before)
			if _, err := ma.Step(c.rows, c.wanted); err == nil || err.Error() != c.want {
				t.Fatalf("error %v, want %s", err, c.want)
			}
			if !slices.Equal(step(t, ma, after), want) {
				t.Error("the step after the error gives other bits")
			}
		})
	}
	t.Run("after the append", func(t *testing.T) {
		ma := attention[float32](t)
		step(t, ma, before)
		ma.Replace = func(name string, v tensor.Value[float32]) tensor.Value[float32] {
			if name == "mix" { // computed when the rows are in the log already
				v.Shape = []int{1}
			}
			return v
		}
		_, err := ma.Step(mixed, nil)
		if want := "%mix = einsum: replaced by a value of shape [1], computed [2 8]"; err == nil || err.Error() != want {
			t.Fatalf("error %v, want %s", err, want)
		}
		ma.Replace = nil
		if !slices.Equal(step(t, ma, after), want) {
			t.Error("the step after the error gives other bits")
		}
		step(t, ma, rows(4, 0, 2)) // slot 4 was not begun
	})
}

func TestReset(t *testing.T) {
	ma := attention[float64](t)
	first := step(t, ma, rows(0, 0, 1, 2, 3))
	step(t, ma, rows(1, 0, 5))
	ma.Reset(0)
	ma.Reset(9) // never used
	if !slices.Equal(step(t, ma, rows(0, 0, 1, 2, 3)), first) {
		t.Error("a slot that begins again gives other bits")
	}
	step(t, ma, rows(1, 1, 5)) // the other slot goes on
}

// TestExchange: every result is shown with its node and arguments, and what is put
// in its place is computed with.
func TestExchange(t *testing.T) {
	ma := attention[float64](t)
	plain := step(t, ma, rows(0, 0, 1, 2))
	ma.Reset(0)
	shown, unnamed := 0, 0
	var mix tensor.Value[float64]
	ma.Exchange = func(n *ir.Node, args []tensor.Value[float64], v tensor.Value[float64]) tensor.Value[float64] {
		shown++
		if n.Result.Name == "" {
			unnamed++
		}
		if len(args) != len(n.Args) {
			t.Errorf("%s: %d arguments shown, it has %d", n.Op.Name, len(args), len(n.Args))
		}
		if n.Result.Name == "mix" {
			mix = v
			v.F = make([]float64, len(v.F))
		}
		return v
	}
	got := step(t, ma, rows(0, 0, 1, 2))
	if src, err := os.ReadFile("testdata/attention.ir"); err != nil || shown != len(parse(t, string(src)).Nodes) || unnamed == 0 {
		t.Errorf("%d results shown, %d without a name (%v)", shown, unnamed, err)
	}
	for i := range plain {
		if mix.F[i] != plain[i] || got[i] != 0 {
			t.Fatalf("element %d: shown %v, computed with %v; expected %v and 0", i, mix.F[i], got[i], plain[i])
		}
	}
}

func TestObserveAndReplace(t *testing.T) {
	ma := attention[float64](t)
	var names []string
	ma.Observe = func(name string, v tensor.Value[float64]) { names = append(names, fmt.Sprint(name, v.Shape)) }
	plain := step(t, ma, rows(0, 0, 1, 2))
	if got := strings.Join(names, " "); got != "x[2 8] k[2 8] mix[2 8]" {
		t.Errorf("observed %s", got)
	}
	ma.Reset(0)
	var seen tensor.Value[float64]
	ma.Observe = func(name string, v tensor.Value[float64]) {
		if name == "mix" {
			seen = v
		}
	}
	ma.Replace = func(name string, v tensor.Value[float64]) tensor.Value[float64] {
		if name != "mix" {
			return v
		}
		out := tensor.Value[float64]{Shape: v.Shape, F: make([]float64, len(v.F))}
		for i, x := range v.F {
			out.F[i] = -x
		}
		return out
	}
	replaced := step(t, ma, rows(0, 0, 1, 2))
	for i := range plain {
		if replaced[i] != -plain[i] || seen.F[i] != plain[i] {
			t.Fatalf("element %d: %v replaced by %v, observed %v", i, plain[i], replaced[i], seen.F[i])
		}
	}
}

// TestWanted asks for some rows, in any order, twice, or for none.
func TestWanted(t *testing.T) {
	every := step(t, attention[float64](t), rows(0, 0, 1, 2, 3))
	for _, wanted := range [][]int{nil, {2}, {2, 0}, {1, 1}} {
		out, err := attention[float64](t).Step(rows(0, 0, 1, 2, 3), wanted)
		if err != nil {
			t.Fatal(err)
		}
		var want []float64
		for _, w := range wanted {
			want = append(want, every[w*8:w*8+8]...)
		}
		if !slices.Equal(out[0].F, want) || !slices.Equal(out[0].Shape, []int{len(wanted), 8}) {
			t.Errorf("wanted %v: %v", wanted, out[0])
		}
	}
}

// head begins a module with all inputs.
const head = `module @m
symbol T = rows
symbol W = wanted
symbol P = reach
symbol E = closing(4)
input %token : tensor<T x i32>
input %position : tensor<T x i32>
input %slot : tensor<T x i32>
input %wanted : tensor<W x i32>
`

func TestSymbols(t *testing.T) {
	m := parse(t, head+`%r = index_range(%token) {first = 0, count = P*100+W*10+T, limit = 1000} : tensor<T x P*100+T+W*10 x i32>
%c = closing_rows(%position) {ratio = 4} : tensor<E x i32>
return %r, %c, %token, %slot
`)
	ma, err := eval.New[float32](m, weights(nil))
	if err != nil {
		t.Fatal(err)
	}
	in := append(rows(3, 0, 9, 8, 7, 6, 5), rows(1, 0, 4)...)
	out, err := ma.Step(in, []int{0, 5})
	if err != nil {
		t.Fatal(err)
	}
	if n := 5*100 + 2*10 + 6; !slices.Equal(out[0].Shape, []int{6, n}) {
		t.Errorf("range has shape %v, want [6 %d]", out[0].Shape, n)
	}
	for i, want := range [][]int32{1: {3}, 2: {9, 8, 7, 6, 5, 4}, 3: {3, 3, 3, 3, 3, 1}} {
		if i > 0 && !slices.Equal(out[i].I, want) {
			t.Errorf("result %d is %v, want %v", i, out[i].I, want)
		}
	}
}

func TestNewErrors(t *testing.T) {
	p := "param @p : tensor<2 x 3 x f32>\nreturn %token\n"
	for _, c := range []struct {
		name, src string
		weights   map[string]tensor.Matrix
		want      string
	}{
		{"no values", head + p, nil, "parameter @p has no values"},
		{"wrong columns", head + p, map[string]tensor.Matrix{"p": random(1, 3, 2)}, "parameter @p: declared as tensor<2 x 3 x f32>, bound to 3 x 2 values"},
		{"wrong rows", head + p, map[string]tensor.Matrix{"p": random(1, 3, 3)}, "parameter @p: declared as tensor<2 x 3 x f32>, bound to 3 x 3 values"},
		{"unknown input", "module @m\nsymbol T = rows\ninput %mask : tensor<T x i32>\nreturn %mask\n", nil,
			"module @m: input %mask: tensor<T x i32>: a step feeds [token position slot wanted], each a tensor of i32 with one dimension"},
		{"real input", "module @m\nsymbol T = rows\ninput %token : tensor<T x f32>\nreturn %token\n", nil,
			"module @m: input %token: tensor<T x f32>: a step feeds [token position slot wanted], each a tensor of i32 with one dimension"},
		{"input rank", "module @m\nsymbol T = rows\ninput %token : tensor<T x 2 x i32>\nreturn %token\n", nil,
			"module @m: input %token: tensor<T x 2 x i32>: a step feeds [token position slot wanted], each a tensor of i32 with one dimension"},
		{"input of fixed size", "module @m\ninput %token : tensor<4 x i32>\nreturn %token\n", nil,
			"module @m: input %token: tensor<4 x i32>: its size must be a symbol that is defined as rows"},
		{"input of another size", "module @m\nsymbol P = reach\ninput %slot : tensor<P x i32>\nreturn %slot\n", nil,
			"module @m: input %slot: tensor<P x i32>: its size must be a symbol that is defined as rows"},
		{"wanted of rows", "module @m\nsymbol T = rows\ninput %wanted : tensor<T x i32>\nreturn %wanted\n", nil,
			"module @m: input %wanted: tensor<T x i32>: its size must be a symbol that is defined as wanted"},
	} {
		if _, err := eval.New[float32](parse(t, c.src), weights(c.weights)); err == nil || err.Error() != c.want {
			t.Errorf("%s: error %v\nwant %s", c.name, err, c.want)
		}
	}
	broken := parse(t, head+"return %token\n")
	broken.Results = nil
	if _, err := eval.New[float32](broken, weights(nil)); err == nil || err.Error() != "module @m: returns nothing" {
		t.Errorf("an unverified module: error %v", err)
	}
}

// TestRunErrors has modules that parse and fail in a step; none may panic.
func TestRunErrors(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"negative size", "%0 = index_range(%token) {first = 0, count = W-1, limit = 1} : tensor<T x W-1 x i32>\nreturn %0\n",
			"%4 = index_range: result tensor<T x W-1 x i32>: size W-1 is -1; sizes are 0 or more, and the evaluator holds 2147483648 elements"},
		{"large size", "%0 = index_range(%token) {first = 0, count = T*10000000000, limit = 1} : tensor<T x T*10000000000 x i32>\nreturn %0\n",
			"%4 = index_range: result tensor<T x T*10000000000 x i32>: size T*10000000000 is 10000000000; sizes are 0 or more, and the evaluator holds 2147483648 elements"},
		{"product of sizes", "%0 = index_range(%wanted) {first = 0, count = 2147483648, limit = 1} : tensor<W x 2147483648 x i32>\n" +
			"%1 = take_rows(%0, %0) : tensor<W x 2147483648 x 2147483648 x i32>\nreturn %1\n",
			"%5 = take_rows: result tensor<W x 2147483648 x 2147483648 x i32>: size 2147483648 is 2147483648; sizes are 0 or more, and the evaluator holds 2147483648 elements"},
		{"closing of tokens", "%0 = closing_rows(%token) {ratio = 4} : tensor<E x i32>\nreturn %0\n",
			"%4 = closing_rows: 1 rows close a block of 4, the step counts 0: the operand must be the rows' positions"},
		{"negative keep", "state @s : tensor<1 x f32> keep P-9\nreturn %token\n", "state @s: keep: P-9 is -8; expected 0 or more"},
		{"keep leaves the range", "state @s : tensor<1 x f32> keep P+9223372036854775807\nreturn %token\n",
			"state @s: keep: P+9223372036854775807 leaves the 64-bit range"},
		{"index leaves the range", "%0 = index_map(%token) {to = i*1000000000} : tensor<T x i32>\nreturn %0\n",
			"%4 = index_map: index 3000000000 leaves the 32-bit range"},
	} {
		ma, err := eval.New[float32](parse(t, head+c.src), weights(nil))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if _, err := ma.Step(rows(0, 0, 3), nil); err == nil || err.Error() != c.want {
			t.Errorf("%s: error %v\nwant %s", c.name, err, c.want)
		}
	}
}

// TestForeignSlots: rows that a module appends to slots of its own choice are
// rolled back and kept like any other.
func TestForeignSlots(t *testing.T) {
	src := head + `param @e : tensor<8 x 1 x f32>
state @s : tensor<1 x f32> keep 2
%0 = dequantize @e : tensor<8 x 1 x f32>
%1 = take_rows(%0, %token) : tensor<T x 1 x f32>
%2 = index_map(%slot) {to = i+100} : tensor<T x i32>
%3 = state @s : state<1 x f32>
%4 = append(%3, %2, %position, %1) : state<1 x f32>
%5 = index_range(%position) {first = i, count = 1, limit = i+1} : tensor<T x 1 x i32>
%last = read(%4, %2, %5) : tensor<T x 1 x 1 x f32>
return %last
`
	ma, err := eval.New[float32](parse(t, src), weights(map[string]tensor.Matrix{"e": random(3, 8, 1)}))
	if err != nil {
		t.Fatal(err)
	}
	ma.Replace = func(_ string, v tensor.Value[float32]) tensor.Value[float32] { return tensor.Value[float32]{} }
	if _, err := ma.Step(rows(0, 0, 1, 2), nil); err == nil {
		t.Fatal("the step must fail")
	}
	ma.Replace = nil
	for p := range 200 {
		if _, err := ma.Step(rows(0, p, 1), nil); err != nil {
			t.Fatalf("position %d: %v", p, err)
		}
	}
}

// TestMachinesShareAModule runs machines of one module at the same time; the
// race detector watches.
func TestMachinesShareAModule(t *testing.T) {
	src, err := os.ReadFile("testdata/attention.ir")
	if err != nil {
		t.Fatal(err)
	}
	m, w := parse(t, string(src)), weights(map[string]tensor.Matrix{"embed": random(1, 16, 8), "key": random(2, 8, 8)})
	tokens := make([]int32, 40)
	for i := range tokens {
		tokens[i] = int32(i % 16)
	}
	results := make([][]float32, 4)
	var wg sync.WaitGroup
	for k := range results {
		wg.Go(func() {
			ma, err := eval.New[float32](m, w)
			if err != nil {
				t.Error(err)
				return
			}
			results[k] = step(t, ma, rows(int32(k), 0, tokens...))
		})
	}
	wg.Wait()
	for _, r := range results[1:] {
		if !slices.Equal(r, results[0]) {
			t.Error("machines give different bits")
		}
	}
}

// TestNothingFused: package eval computes nothing itself, and the decoders of
// package encoding are instantiated where checkpoints are read.
func TestNothingFused(t *testing.T) {
	for _, pkg := range []string{"smelt.example/smelt/internal/ir/eval", "smelt.example/smelt/internal/ir/tensor", "smelt.example/smelt/models/checkpoint"} {
		fmacheck.Check(t, pkg)
	}
}

func BenchmarkStep(b *testing.B) {
	ma := attention[float32](b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := ma.Step(rows(0, i, 1), []int{0}); err != nil {
			b.Fatal(err)
		}
	}
}
