package lower

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

// halfBlocks are the end of a layer's attention and its experts, with what leads to them
// taken from tables by token. %[1]s: width, %[2]s: four times that, %[3]s: columns of wo_b,
// %[4]s: experts, %[5]s: of a row, %[6]s: the experts' hidden size.
const halfBlocks = `module @half_blocks
symbol T = rows
input %%token : tensor<T x i32>
param @before : tensor<32 x 4 x %[1]s x f32>
param @post : tensor<32 x 4 x f32>
param @comb : tensor<32 x 4 x 4 x f32>
param @heads : tensor<32 x %[3]s x f32>
param @logits : tensor<32 x %[4]s x f32>
param @shared : tensor<32 x %[6]s x f32>
param @wo_b : tensor<%[1]s x %[3]s x f32>
param @fn : tensor<24 x %[2]s x f32>
param @scale : tensor<3 x f32>
param @base : tensor<24 x f32>
param @norm : tensor<%[1]s x f32>
param @bias : tensor<%[4]s x f32>
param @w1 : tensor<%[4]s x %[6]s x %[1]s x f32>
param @w3 : tensor<%[4]s x %[6]s x %[1]s x f32>
param @w2 : tensor<%[4]s x %[1]s x %[6]s x f32>
param @shared2 : tensor<%[1]s x %[6]s x f32>
%%t0 = dequantize @before : tensor<32 x 4 x %[1]s x f32>
%%before = take_rows(%%t0, %%token) : tensor<T x 4 x %[1]s x f32>
%%t1 = dequantize @post : tensor<32 x 4 x f32>
%%post = take_rows(%%t1, %%token) : tensor<T x 4 x f32>
%%t2 = dequantize @comb : tensor<32 x 4 x 4 x f32>
%%comb = take_rows(%%t2, %%token) : tensor<T x 4 x 4 x f32>
%%t3 = dequantize @heads : tensor<32 x %[3]s x f32>
%%heads = take_rows(%%t3, %%token) : tensor<T x %[3]s x f32>
%%t4 = dequantize @logits : tensor<32 x %[4]s x f32>
%%logits = take_rows(%%t4, %%token) : tensor<T x %[4]s x f32>
%%t5 = dequantize @shared : tensor<32 x %[6]s x f32>
%%shared = take_rows(%%t5, %%token) : tensor<T x %[6]s x f32>
region hyper @layers.0.attn.hyper {
  %%d0 = dequantize @wo_b : tensor<%[1]s x %[3]s x f32>
  %%y = matmul(%%heads, %%d0) : tensor<T x %[1]s x f32>
  %%p1 = reshape(%%post) {shape = [T, 4, 1]} : tensor<T x 4 x 1 x f32>
  %%y1 = reshape(%%y) {shape = [T, 1, %[1]s]} : tensor<T x 1 x %[1]s x f32>
  %%written = mul(%%p1, %%y1) : tensor<T x 4 x %[1]s x f32>
  %%kept = einsum(%%comb, %%before) {spec = "tjk,tjd->tkd"} : tensor<T x 4 x %[1]s x f32>
  %%after = add(%%written, %%kept) : tensor<T x 4 x %[1]s x f32>
  %%flat = reshape(%%after) {shape = [T, %[2]s]} : tensor<T x %[2]s x f32>
  %%rms = rms_norm(%%flat) {eps = 1e-06} : tensor<T x %[2]s x f32>
  %%d1 = dequantize @fn : tensor<24 x %[2]s x f32>
  %%z = matmul(%%rms, %%d1) : tensor<T x 24 x f32>
  %%d2 = dequantize @scale : tensor<3 x f32>
  %%d3 = dequantize @base : tensor<24 x f32>
  %%z0 = slice(%%z) {axis = -1, count = 4} : tensor<T x 4 x f32>
  %%s0 = slice(%%d2) {axis = -1, count = 1} : tensor<1 x f32>
  %%m0 = mul(%%z0, %%s0) : tensor<T x 4 x f32>
  %%b0 = slice(%%d3) {axis = -1, count = 4} : tensor<4 x f32>
  %%a0 = add(%%m0, %%b0) : tensor<T x 4 x f32>
  %%g0 = sigmoid(%%a0) : tensor<T x 4 x f32>
  %%pre = offset(%%g0) {by = 1e-06} : tensor<T x 4 x f32>
  %%z1 = slice(%%z) {axis = -1, from = 4, count = 4} : tensor<T x 4 x f32>
  %%s1 = slice(%%d2) {axis = -1, from = 1, count = 1} : tensor<1 x f32>
  %%m1 = mul(%%z1, %%s1) : tensor<T x 4 x f32>
  %%b1 = slice(%%d3) {axis = -1, from = 4, count = 4} : tensor<4 x f32>
  %%a1 = add(%%m1, %%b1) : tensor<T x 4 x f32>
  %%g1 = sigmoid(%%a1) : tensor<T x 4 x f32>
  %%post2 = scale(%%g1) {by = 2.0} : tensor<T x 4 x f32>
  %%z2 = slice(%%z) {axis = -1, from = 8, count = 16} : tensor<T x 16 x f32>
  %%s2 = slice(%%d2) {axis = -1, from = 2, count = 1} : tensor<1 x f32>
  %%m2 = mul(%%z2, %%s2) : tensor<T x 16 x f32>
  %%b2 = slice(%%d3) {axis = -1, from = 8, count = 16} : tensor<16 x f32>
  %%a2 = add(%%m2, %%b2) : tensor<T x 16 x f32>
  %%square = reshape(%%a2) {shape = [T, 4, 4]} : tensor<T x 4 x 4 x f32>
  %%comb2 = sinkhorn(%%square) {iters = 20, eps = 1e-06} : tensor<T x 4 x 4 x f32>
  %%u = einsum(%%pre, %%after) {spec = "tk,tkd->td"} : tensor<T x %[1]s x f32>
  %%un = rms_norm(%%u) {eps = 1e-06} : tensor<T x %[1]s x f32>
  %%d4 = dequantize @norm : tensor<%[1]s x f32>
  %%x = mul(%%un, %%d4) : tensor<T x %[1]s x f32>
} yields %%after, %%post2, %%comb2, %%x
region experts @layers.0.ffn.experts {
  %%soft = softplus(%%logits) : tensor<T x %[4]s x f32>
  %%scores = sqrt(%%soft) : tensor<T x %[4]s x f32>
  %%d5 = dequantize @bias : tensor<%[4]s x f32>
  %%biased = add(%%scores, %%d5) : tensor<T x %[4]s x f32>
  %%ids = topk(%%biased) {k = %[5]s} : tensor<T x %[5]s x i32>
  %%taken = take_along(%%scores, %%ids) : tensor<T x %[5]s x f32>
  %%sum = reduce_sum(%%taken) {axis = -1} : tensor<T x f32>
  %%sum1 = reshape(%%sum) {shape = [T, 1]} : tensor<T x 1 x f32>
  %%shares = div(%%taken, %%sum1) : tensor<T x %[5]s x f32>
  %%weights = scale(%%shares) {by = 2.5} : tensor<T x %[5]s x f32>
  %%e1 = dequantize @w1 : tensor<%[4]s x %[6]s x %[1]s x f32>
  %%gates = expert_matmul(%%x, %%ids, %%e1) : tensor<T x %[5]s x %[6]s x f32>
  %%e3 = dequantize @w3 : tensor<%[4]s x %[6]s x %[1]s x f32>
  %%ups = expert_matmul(%%x, %%ids, %%e3) : tensor<T x %[5]s x %[6]s x f32>
  %%gate = clamp(%%gates) {min = -inf, max = 10.0} : tensor<T x %[5]s x %[6]s x f32>
  %%up = clamp(%%ups) {min = -10.0, max = 10.0} : tensor<T x %[5]s x %[6]s x f32>
  %%silu = silu(%%gate) : tensor<T x %[5]s x %[6]s x f32>
  %%hidden = mul(%%silu, %%up) : tensor<T x %[5]s x %[6]s x f32>
  %%wide = reshape(%%weights) {shape = [T, %[5]s, 1]} : tensor<T x %[5]s x 1 x f32>
  %%mid = mul(%%hidden, %%wide) : tensor<T x %[5]s x %[6]s x f32>
} yields %%ids, %%mid
region hyper @layers.0.ffn.hyper {
  %%e2 = dequantize @w2 : tensor<%[4]s x %[1]s x %[6]s x f32>
  %%downs = expert_matmul(%%mid, %%ids, %%e2) : tensor<T x %[5]s x %[1]s x f32>
  %%routed = reduce_sum(%%downs) {axis = 1} : tensor<T x %[1]s x f32>
  %%d6 = dequantize @shared2 : tensor<%[1]s x %[6]s x f32>
  %%always = matmul(%%shared, %%d6) : tensor<T x %[1]s x f32>
  %%yf = add(%%routed, %%always) : tensor<T x %[1]s x f32>
  %%p2 = reshape(%%post2) {shape = [T, 4, 1]} : tensor<T x 4 x 1 x f32>
  %%y2 = reshape(%%yf) {shape = [T, 1, %[1]s]} : tensor<T x 1 x %[1]s x f32>
  %%written2 = mul(%%p2, %%y2) : tensor<T x 4 x %[1]s x f32>
  %%kept2 = einsum(%%comb2, %%after) {spec = "tjk,tjd->tkd"} : tensor<T x 4 x %[1]s x f32>
  %%after2 = add(%%written2, %%kept2) : tensor<T x 4 x %[1]s x f32>
} yields %%after2
return %%after, %%x, %%ids, %%mid, %%after2
`

// halfBlocksTest is that module with weights.
type halfBlocksTest struct {
	m      *ir.Module
	tables map[string]tensor.Matrix // by parameter
	params storage.Parameters
	files  map[weightPlane][]byte
}

// sizesOfHalfBlocks are the numbers that the module's text has.
type sizesOfHalfBlocks struct{ width, heads, experts, chosen, hidden int }

func newHalfBlocksTest(t *testing.T, s sizesOfHalfBlocks, of map[string]string, pieces bool) *halfBlocksTest {
	t.Helper()
	var numbers []any
	for _, n := range []int{s.width, 4 * s.width, s.heads, s.experts, s.chosen, s.hidden} {
		numbers = append(numbers, fmt.Sprint(n))
	}
	m, err := text.Parse("half_blocks", fmt.Sprintf(halfBlocks, numbers...))
	if err != nil {
		t.Fatal(err)
	}
	x := &halfBlocksTest{m: m, tables: map[string]tensor.Matrix{}, params: storage.Parameters{}, files: map[weightPlane][]byte{}}
	rng := rand.New(rand.NewPCG(16, uint64(s.width)))
	for _, p := range m.Params {
		rows, cols, lead := 1, dim(&ir.Value{Type: p.Type}, p.Type.Rank()-1), 1
		for axis := range p.Type.Rank() - 1 {
			rows *= dim(&ir.Value{Type: p.Type}, axis)
		}
		if p.Type.Rank() == 3 {
			lead = dim(&ir.Value{Type: p.Type}, 0)
		}
		x.put(t, rng, p.Name, of[p.Name], rows, cols, lead, pieces)
	}
	return x
}

// put draws a parameter and stores it, of float32 if no encoding is named: in a piece
// for each leading index, in descending order, or in one.
func (x *halfBlocksTest) put(t *testing.T, rng *rand.Rand, name, encoded string, rows, cols, lead int, pieces bool) {
	t.Helper()
	if encoded == "" {
		encoded = "f32"
	}
	e, err := encoding.Parse(encoded)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float64, rows*cols)
	for i := range values {
		values[i] = rng.NormFloat64() / math.Sqrt(float64(cols))
		if name == "logits" {
			values[i] *= 30 // far apart: no choice hangs on a rounding
		}
	}
	p := &storage.Parameter{Name: name, Rows: rows, Cols: cols, Lead: lead, Encoding: e}
	if lead == 1 || !pieces {
		p.Pieces = make([]storage.Piece, 1)
	} else {
		p.Pieces = make([]storage.Piece, lead)
	}
	each := rows / len(p.Pieces)
	for i := len(p.Pieces) - 1; i >= 0; i-- {
		stored, err := encoding.Encode(e, values[i*each*cols:(i+1)*each*cols], each, cols)
		if err != nil {
			t.Fatal(err)
		}
		pc := storage.Piece{First: i * each, Rows: each}
		for n, r := range []encoding.Role{encoding.Weight, encoding.Scales, encoding.Biases} {
			at := weightPlane{name, r}
			*[]*storage.Extent{&pc.Weight, &pc.Scales, &pc.Biases}[n] = storage.Extent{Offset: int64(len(x.files[at])), Bytes: int64(len(stored.Of(r)))}
			x.files[at] = append(x.files[at], stored.Of(r)...)
		}
		for r := range each {
			encoding.Decode(e, values[(i*each+r)*cols:][:cols], stored, r)
		}
		p.Pieces[i] = pc
	}
	x.params[name], x.tables[name] = p, tensor.NewMatrix(values, cols)
}

// run runs the regions for rows of such tokens and returns the module's results.
func (x *halfBlocksTest) run(t *testing.T, machine target.Target, tokens []int32, text bool) [][]byte {
	t.Helper()
	in := &Input{Module: x.m, Phase: program.Decode, Params: x.params, Step: program.NewStep(x.m, program.MaxDecodeRows), Target: machine}
	rows := make([]ir.Row, len(tokens))
	for i, token := range tokens {
		rows[i].Token = token
	}
	mem := newMemory(in, rows)
	mem.text = text
	for _, n := range x.m.Nodes {
		if table, taken := x.tables[n.Result.Name]; taken {
			each := len(table.Values) / 32
			var values []float32
			for _, token := range tokens {
				for _, v := range table.Values[int(token)*each:][:each] {
					values = append(values, float32(v))
				}
			}
			mem.values[n.Result] = floatBytes(values)
		}
	}
	for _, in.Region = range x.m.Regions {
		launches, err := Lower(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range launches {
			x.bind(t, mem, l)
			mem.run(t, []program.Launch{l})
		}
	}
	var out [][]byte
	for _, r := range x.m.Results {
		out = append(out, mem.values[r])
	}
	return out
}

func (x *halfBlocksTest) bind(t *testing.T, mem *memory, l program.Launch) {
	t.Helper()
	for _, a := range l.Args {
		if a.Weight == nil {
			continue
		}
		at := weightPlane{a.Weight.Param, a.Weight.Role}
		mem.weights[at] = append(slices.Clone(x.files[at]), make([]byte, 16)...)
		mem.tables[at] = nil
		for i := range x.params[a.Weight.Param].Pieces {
			start, err := x.params[a.Weight.Param].Start(i, a.Weight.Role)
			if err != nil {
				t.Fatal(err)
			}
			mem.tables[at] = binary.LittleEndian.AppendUint64(mem.tables[at], uint64(start))
		}
	}
}

// check compares a step with the evaluator, and some of its rows with what they are alone.
func (x *halfBlocksTest) check(t *testing.T, machine target.Target, tokens []int32, text bool) {
	t.Helper()
	var rows []ir.Row
	for i, token := range tokens {
		rows = append(rows, ir.Row{Token: token, Slot: int32(i)})
	}
	machine64, err := eval.New[float64](x.m, func(name string) tensor.Source { return x.tables[name] })
	if err != nil {
		t.Fatal(err)
	}
	want, err := machine64.Step(rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := x.run(t, machine, tokens, text)
	for n, r := range x.m.Results {
		if r.Type.Elem == ir.I32 {
			if ids, _ := want[n].Ints(); !slices.Equal(ints(got[n]), ids) {
				t.Fatalf("%s, %d rows: %s is %v, want %v", machine.Name, len(tokens), r.Name, ints(got[n]), ids)
			}
			continue
		}
		for i, v := range floats(got[n]) {
			if w := want[n].Dense()[i]; !(math.Abs(float64(v)-w) <= 2e-5*max(1, math.Abs(w))) {
				t.Fatalf("%s, %d rows: element %d of %s is %v, want %v", machine.Name, len(tokens), i, r.Name, v, w)
			}
		}
	}
	for _, row := range []int{0, len(tokens) - 1} {
		for n, alone := range x.run(t, machine, tokens[row:row+1], text) {
			if size := len(alone); string(alone) != string(got[n][row*size:][:size]) {
				t.Fatalf("%s: %s of row %d of %d has other bits alone", machine.Name, x.m.Results[n].Name, row, len(tokens))
			}
		}
	}
}

// TestHalfBlocks runs the decode kernels of experts and hyper-connections: widths and
// hidden sizes that tiles do not divide, experts in pieces and in one, K of
// hyper-connections long enough to be shared, rows
// that choose the same experts and rows that do not, threadgroups of every size.
func TestHalfBlocks(t *testing.T) {
	t.Parallel()
	small, err := target.GPU.WithThreads(64)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(16, 1))
	few := []int32{3, 17, 3, 8, 3, 3, 21, 30, 3, 3, 1, 0, 31, 5, 3, 9} // what one token chooses has more than four companions
	formats := []map[string]string{
		{"wo_b": "fp8_e4m3_b128", "w1": "fp4_e2m1_g32", "w3": "fp4_e2m1_g32", "w2": "fp4_e2m1_g32", "shared2": "fp8_e4m3_b128"},
		{"wo_b": "affine4_g64_bf16", "w1": "affine4_g64_bf16", "w3": "affine4_g64_bf16", "w2": "affine4_g32_bf16", "shared2": "affine8_g64_bf16"},
		{"wo_b": "bf16", "w1": "bf16", "w3": "fp8_e4m3_b128", "w2": "bf16", "shared2": "bf16"},
	}
	type half struct {
		sizes   sizesOfHalfBlocks
		formats int
		pieces  bool
		target  target.Target
		rows    int
	}
	for i, c := range sample.Short(t, []half{
		{sizesOfHalfBlocks{64, 2112, 40, 6, 1088}, 0, true, target.GPU, 4},
		{sizesOfHalfBlocks{64, 192, 7, 3, 64}, 1, false, target.GPU, 16},
		{sizesOfHalfBlocks{160, 96, 33, 2, 96}, 2, false, small, 4},
		{sizesOfHalfBlocks{160, 1056, 9, 5, 160}, 0, true, small, 3},
		{sizesOfHalfBlocks{1024, 64, 5, 2, 32}, 0, true, target.GPU, 2},
		{sizesOfHalfBlocks{100, 96, 33, 2, 1204}, 2, true, target.GPU, 3}, // the last tile of the hidden size and that of the width are not full
		{sizesOfHalfBlocks{68, 1064, 5, 3, 36}, 2, false, small, 4},
		{sizesOfHalfBlocks{128, 192, 40, 6, 128}, 1, false, target.CPU8, 2},
	}, 1) {
		name := strings.ReplaceAll(fmt.Sprint(i, c.sizes, c.target), " ", "_")
		t.Run(name, func(t *testing.T) {
			x := newHalfBlocksTest(t, c.sizes, formats[c.formats], c.pieces)
			x.check(t, c.target, few[:c.rows], false)
			apart := []int32{}
			for range unlessShort(c.rows, 1) {
				apart = append(apart, rng.Int32N(32))
			}
			x.check(t, c.target, apart, false)
		})
	}
}
