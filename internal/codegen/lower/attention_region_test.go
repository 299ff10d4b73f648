package lower

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/ir/eval"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

// attentionModule takes what a layer would compute from tables by token.
const attentionModule = `module @attention
symbol T = rows
symbol P = reach
symbol E4 = closing(4)
input %token : tensor<T x i32>
input %position : tensor<T x i32>
input %slot : tensor<T x i32>
param @q : tensor<16 x 128 x f32>
param @kv : tensor<16 x 32 x f32>
param @index_q : tensor<16 x 256 x f32>
param @index_w : tensor<16 x 8 x f32>
param @index_k : tensor<16 x 32 x f32>
param @sink : tensor<4 x f32>
state @window : tensor<32 x f32> keep 8
state @entries : tensor<32 x f32> keep floor(P/4)
state @index : tensor<32 x f32> keep floor(P/4)
%t0 = dequantize @q : tensor<16 x 128 x f32>
%q = take_rows(%t0, %token) : tensor<T x 128 x f32>
%t1 = dequantize @kv : tensor<16 x 32 x f32>
%kv = take_rows(%t1, %token) : tensor<T x 32 x f32>
%t2 = dequantize @index_q : tensor<16 x 256 x f32>
%iq0 = take_rows(%t2, %token) : tensor<T x 256 x f32>
%iq = reshape(%iq0) {shape = [T, 8, 32]} : tensor<T x 8 x 32 x f32>
%t3 = dequantize @index_w : tensor<16 x 8 x f32>
%iw = take_rows(%t3, %token) : tensor<T x 8 x f32>
%t4 = dequantize @index_k : tensor<16 x 32 x f32>
%ik = take_rows(%t4, %token) : tensor<T x 32 x f32>
%w0 = state @window : state<32 x f32>
%w1 = append(%w0, %slot, %position, %kv) : state<32 x f32>
%closing = closing_rows(%position) {ratio = 4} : tensor<E4 x i32>
%cp = take_rows(%position, %closing) : tensor<E4 x i32>
%cs = take_rows(%slot, %closing) : tensor<E4 x i32>
%ci = index_map(%cp) {to = floor(i/4)} : tensor<E4 x i32>
%ckv = take_rows(%kv, %closing) : tensor<E4 x 32 x f32>
%e0 = state @entries : state<32 x f32>
%e1 = append(%e0, %cs, %ci, %ckv) : state<32 x f32>
%cik = take_rows(%ik, %closing) : tensor<E4 x 32 x f32>
%i0 = state @index : state<32 x f32>
%i1 = append(%i0, %cs, %ci, %cik) : state<32 x f32>
region index_topk @layers.0.topk {
  %seen = index_range(%position) {count = floor(P/4), limit = floor((i+1)/4)} : tensor<T x floor(P/4) x i32>
  %ikeys = read(%i1, %slot, %seen) : tensor<T x floor(P/4) x 32 x f32>
  %match = einsum(%iq, %ikeys) {spec = "thd,tkd->thk"} : tensor<T x 8 x floor(P/4) x f32>
  %on = relu(%match) : tensor<T x 8 x floor(P/4) x f32>
  %score = einsum(%iw, %on) {spec = "th,thk->tk"} : tensor<T x floor(P/4) x f32>
  %top = topk(%score, %seen) {k = 6} : tensor<T x 6 x i32>
} yields %top
region attention @layers.0.attend {
  %qh = reshape(%q) {shape = [T, 4, 32]} : tensor<T x 4 x 32 x f32>
  %qn = rms_norm(%qh) {eps = 1e-06} : tensor<T x 4 x 32 x f32>
  %qr = rope(%qn, %position) {dims = 16, theta = 10000.0} : tensor<T x 4 x 32 x f32>
  %near = index_range(%position) {first = i-7, count = 8, limit = i+1} : tensor<T x 8 x i32>
  %wk = read(%w1, %slot, %near) : tensor<T x 8 x 32 x f32>
  %ek = read(%e1, %slot, %top) : tensor<T x 6 x 32 x f32>
  %keys = concat(%wk, %ek) {axis = 1} : tensor<T x 14 x 32 x f32>
  %ids = concat(%near, %top) {axis = 1} : tensor<T x 14 x i32>
  %dots = einsum(%qr, %keys) {spec = "thd,tkd->thk"} : tensor<T x 4 x 14 x f32>
  %scaled = scale(%dots) {by = 0.17677669529663687} : tensor<T x 4 x 14 x f32>
  %masked = mask(%scaled, %ids) {fill = -inf} : tensor<T x 4 x 14 x f32>
  %sinks = dequantize @sink : tensor<4 x f32>
  %probs = sink_softmax(%masked, %sinks) : tensor<T x 4 x 14 x f32>
  %acc = einsum(%probs, %keys) {spec = "thk,tkd->thd"} : tensor<T x 4 x 32 x f32>
  %out = rope(%acc, %position) {dims = 16, theta = 10000.0, inverse = true} : tensor<T x 4 x 32 x f32>
} yields %out
return %top, %out
`

// TestAttentionRegions runs both regions of a module, as its passes would
// leave them, against the evaluator. The index's tables hold small integers, so
// that the choice must be the same.
func TestAttentionRegions(t *testing.T) {
	m, err := text.Parse("attention.ir", attentionModule)
	if err != nil {
		t.Fatal(err)
	}
	tables := attentionTables(m)
	ma, err := eval.New[float64](m, func(name string) tensor.Source { return tables[name] })
	if err != nil {
		t.Fatal(err)
	}
	tokens := rand.New(rand.NewPCG(5, 5))
	history := map[int32][]int32{}
	for _, lengths := range [][]int{{1, 0, 7}, {3, 50, 0}, {1, 1, 1}, {9, 0, 30}, {1, 1, 1}} {
		var rows []ir.Row
		for slot, n := range lengths {
			for range n {
				s := int32(slot)
				rows = append(rows, ir.Row{Token: tokens.Int32N(16), Position: int32(len(history[s])), Slot: s})
				history[s] = append(history[s], rows[len(rows)-1].Token)
			}
		}
		want, err := ma.Step(rows, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, machine := range targets {
			for _, phase := range []program.Phase{program.Decode, program.Prefill} {
				if phase == program.Decode && len(rows) > program.MaxDecodeRows {
					continue
				}
				top, out := runAttentionRegions(t, m, machine, phase, tables, rows, history)
				if ids, _ := want[0].Ints(); !slices.Equal(top, ids) {
					t.Fatalf("%s, %s, rows %v: chose %v, want %v", machine.Name, phase, rows, top, ids)
				}
				for i, w := range want[1].Dense() {
					if !(math.Abs(float64(out[i])-w) <= 2e-5) {
						t.Fatalf("%s, %s, rows %v: element %d is %v, want %v", machine.Name, phase, rows, i, out[i], w)
					}
				}
			}
		}
	}
}

// attentionTables holds the parameters' values.
func attentionTables(m *ir.Module) map[string]tensor.Matrix {
	tables := map[string]tensor.Matrix{}
	r := rand.New(rand.NewPCG(3, 3))
	for _, p := range m.Params {
		n := 1
		for _, d := range p.Type.Shape {
			size, _ := d.Value()
			n *= int(size)
		}
		values := normals(r, n)
		if p.Name[0] == 'i' {
			values = smallIntegers(r, n, 2)
		}
		cols, _ := p.Type.Shape[p.Type.Rank()-1].Value()
		wide := make([]float64, n)
		for i, v := range values {
			wide[i] = float64(v)
		}
		tables[p.Name] = tensor.NewMatrix(wide, int(cols))
	}
	return tables
}

// runAttentionRegions runs the module's regions after a step's appends.
func runAttentionRegions(t *testing.T, m *ir.Module, machine target.Target, phase program.Phase, tables map[string]tensor.Matrix, rows []ir.Row, history map[int32][]int32) (top []int32, out []float32) {
	t.Helper()
	in := &Input{Module: m, Phase: phase, Caches: map[string]*program.Cache{}, Step: program.NewStep(m, 64), Target: machine}
	in.Params = storage.Parameters{"sink": {Name: "sink", Rows: 1, Cols: 4, Lead: 1, Encoding: encoding.Plain{DType: encoding.F32}, Pieces: []storage.Piece{{Rows: 1}}}}
	mem := newMemory(in, rows)
	row := func(table string, token int32) []float32 {
		n := tables[table].Cols()
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(tables[table].Values[int(token)*n+i])
		}
		return x
	}
	mem.weights[weightPlane{"sink", encoding.Weight}] = floatBytes(row("sink", 0))
	values := map[string][]float32{}
	for _, r := range rows {
		for name, table := range map[string]string{"q": "q", "iq": "index_q", "iw": "index_w"} {
			values[name] = append(values[name], row(table, r.Token)...)
		}
	}
	states := map[string]map[[2]int][]float32{"window": {}, "entries": {}, "index": {}}
	for slot, tokens := range history {
		for p, token := range tokens {
			states["window"][[2]int{int(slot), p}] = row("kv", token)
			if (p+1)%4 == 0 {
				states["entries"][[2]int{int(slot), p / 4}] = row("kv", token)
				states["index"][[2]int{int(slot), p / 4}] = row("index_k", token)
			}
		}
	}
	mem.fillCache(t, "window", "f32", 32, 8+len(rows), true, states["window"])
	mem.fillCache(t, "entries", "f32", 32, 0, false, states["entries"])
	mem.fillCache(t, "index", "f32", 32, 0, false, states["index"])
	for _, n := range m.Nodes {
		if v := values[n.Result.Name]; v != nil {
			mem.values[n.Result] = floatBytes(v)
		}
	}
	for _, in.Region = range m.Regions {
		launches, err := Lower(in)
		if err != nil {
			t.Fatal(err)
		}
		mem.run(t, launches)
	}
	return ints(mem.values[m.Results[0]]), floats(mem.values[m.Results[1]])
}
