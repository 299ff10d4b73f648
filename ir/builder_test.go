package ir_test

import (
	"math"
	"strings"
	"testing"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// start begins a module with the four inputs of a step, x [T, 4] and some symbols.
type start struct {
	*ir.Builder
	token, position, slot, wanted, x *ir.Value
}

func newStart() start {
	b := ir.NewBuilder("m", ir.Symbol{Name: "T", Def: ir.Rows}, ir.Symbol{Name: "W", Def: ir.Wanted},
		ir.Symbol{Name: "P", Def: ir.Reach}, ir.Symbol{Name: "E4", Def: ir.Closing, Arg: 4})
	rows := ir.Tensor(ir.I32, ir.Sym("T"))
	s := start{Builder: b}
	s.token, s.position, s.slot = b.Input("token", rows), b.Input("position", rows), b.Input("slot", rows)
	s.wanted = b.Input("wanted", ir.Tensor(ir.I32, ir.Sym("W")))
	b.Param(ir.Param{Name: "e", Type: ir.Tensor(ir.F32, ir.Dims(16, 4)...)})
	b.Param(ir.Param{Name: "w3", Type: ir.Tensor(ir.F32, ir.Dims(2, 3, 4)...)})
	b.State(ir.State{Name: "s", Row: ir.Tensor(ir.F32, ir.Dims(4)...), Keep: ir.Const(8)})
	s.x = s.Add(ops.TakeRows, nil, s.AddNaming(ops.Dequantize, nil, "e"), s.token)
	b.Name(s.x, "x")
	return s
}

func (s start) weight(name string) *ir.Value { return s.AddNaming(ops.Dequantize, nil, name) }
func (s start) state() *ir.Value             { return s.AddNaming(ops.State, nil, "s") }
func shape(dims ...ir.Expr) ops.ShapeAttr    { return ops.ShapeAttr{Shape: dims} }

// TestBuilderErrors has a wrong graph a row and the whole message.
func TestBuilderErrors(t *testing.T) {
	T, n, i := ir.Sym("T"), ir.Const, ir.Sym("i")
	for _, c := range []struct {
		name  string
		build func(s start)
		want  string
	}{
		{"matmul width", func(s start) { s.Add(ops.Matmul, nil, s.x, s.Add(ops.Reshape, shape(n(8), n(8)), s.weight("e"))) },
			"matmul(%x: tensor<T x 4 x f32>, %7: tensor<8 x 8 x f32>): takes x [..., k] and w [n, k]"},
		{"matmul rank", func(s start) { s.Add(ops.Matmul, nil, s.x, s.weight("w3")) },
			"matmul(%x: tensor<T x 4 x f32>, %6: tensor<2 x 3 x 4 x f32>): takes x [..., k] and w [n, k]"},
		{"matmul of integers", func(s start) { s.Add(ops.Matmul, nil, s.x, s.token) },
			"matmul(%x: tensor<T x 4 x f32>, %token: tensor<T x i32>): operand 1 must be a tensor of f32"},
		{"matmul of a state", func(s start) { s.Add(ops.Matmul, nil, s.state(), s.weight("e")) },
			"matmul(%6: state<4 x f32>, %7: tensor<16 x 4 x f32>): operand 0 must be a tensor of f32"},
		{"too few operands", func(s start) { s.Add(ops.Matmul, nil, s.x) }, "matmul(%x: tensor<T x 4 x f32>): takes 2 operands, got 1"},
		{"too many operands", func(s start) { s.Add(ops.Sqrt, nil, s.x, s.x) },
			"sqrt(%x: tensor<T x 4 x f32>, %x: tensor<T x 4 x f32>): takes 1 operand, got 2"},
		{"operand range", func(s start) { s.Add(ops.TopK, ops.TopKAttr{K: 1}) }, "topk(): takes 1 to 2 operands, got 0"},
		{"missing operand", func(s start) { s.Add(ops.Add, nil, s.x, nil) }, "add(%x: tensor<T x 4 x f32>, %<nil>): operand 1 is missing"},
		{"no operation", func(s start) { s.Add(nil, nil, s.x) }, "a node lacks its operation"},
		{"attribute missing", func(s start) { s.Add(ops.ReduceSum, nil, s.x) },
			"reduce_sum(%x: tensor<T x 4 x f32>): attribute must be ops.AxisAttr, is <nil>"},
		{"attribute of another", func(s start) { s.Add(ops.ReduceSum, ops.TopKAttr{K: 1}, s.x) },
			"reduce_sum(%x: tensor<T x 4 x f32>): attribute must be ops.AxisAttr, is ops.TopKAttr"},
		{"attribute without need", func(s start) { s.Add(ops.Sqrt, ops.AxisAttr{}, s.x) },
			"sqrt(%x: tensor<T x 4 x f32>): attribute must be <nil>, is ops.AxisAttr"},
		{"unknown parameter", func(s start) { s.weight("f") }, "dequantize @f(): no parameter @f is declared"},
		{"unknown state", func(s start) { s.AddNaming(ops.State, nil, "e") }, "state @e(): no state @e is declared"},
		{"name without referent", func(s start) { s.AddNaming(ops.Sqrt, nil, "e", s.x) },
			"sqrt @e(%x: tensor<T x 4 x f32>): names @e but refers to nothing"},
		{"parameter twice", func(s start) { s.Param(ir.Param{Name: "e"}) }, "parameter @e is declared twice"},
		{"state twice", func(s start) { s.State(ir.State{Name: "s"}) }, "state @s is declared twice"},
		{"value name twice", func(s start) { s.Name(s.Add(ops.Sqrt, nil, s.x), "x") },
			"%x: a value's name is made of letters, digits, '_' and '.', begins with a letter and is used once"},
		{"bad value name", func(s start) { s.Name(s.x, "9") },
			"%9: a value's name is made of letters, digits, '_' and '.', begins with a letter and is used once"},
		{"add sizes", func(s start) { s.Add(ops.Add, nil, s.x, s.weight("e")) },
			"add(%x: tensor<T x 4 x f32>, %6: tensor<16 x 4 x f32>): sizes [T 4] and [16 4] do not combine"},
		{"reshape", func(s start) { s.Add(ops.Reshape, shape(T, n(5)), s.x) },
			"reshape(%x: tensor<T x 4 x f32>): T*4 elements do not fit shape [T 5]"},
		{"reshape to nothing", func(s start) { s.Add(ops.Reshape, shape(), s.x) },
			"reshape(%x: tensor<T x 4 x f32>): T*4 elements do not fit shape []"},
		{"reshape too large", func(s start) { s.Add(ops.Reshape, shape(n(math.MaxInt64), n(2)), s.x) },
			"reshape(%x: tensor<T x 4 x f32>): T*4 elements do not fit shape [9223372036854775807 2]"},
		{"reshape of a state", func(s start) { s.Add(ops.Reshape, shape(n(4)), s.state()) }, "reshape(%6: state<4 x f32>): operand must be a tensor"},
		{"broadcast", func(s start) { s.Add(ops.Broadcast, shape(T, n(8)), s.x) },
			"broadcast(%x: tensor<T x 4 x f32>): shape [T 4] does not repeat to [T 8]"},
		{"slice", func(s start) { s.Add(ops.Slice, ops.SliceAttr{Axis: -1, From: 3, Count: 2}, s.x) },
			"slice(%x: tensor<T x 4 x f32>): [3, 3+2) is not a range of an axis of 4"},
		{"slice of a symbol", func(s start) { s.Add(ops.Slice, ops.SliceAttr{Count: 1}, s.x) },
			"slice(%x: tensor<T x 4 x f32>): [0, 0+1) is not a range of an axis of T"},
		{"axis", func(s start) { s.Add(ops.Softmax, ops.AxisAttr{Axis: 2}, s.x) }, "softmax(%x: tensor<T x 4 x f32>): axis 2 is outside rank 2"},
		{"axis from the end", func(s start) { s.Add(ops.ReduceSum, ops.AxisAttr{Axis: -3}, s.x) },
			"reduce_sum(%x: tensor<T x 4 x f32>): axis -3 is outside rank 2"},
		{"reduce to nothing", func(s start) { s.Add(ops.ReduceSum, ops.AxisAttr{}, s.Add(ops.Reshape, shape(T.Mul(n(4))), s.x)) },
			"reduce_sum(%6: tensor<T*4 x f32>): operand must have two dimensions or more"},
		{"concat", func(s start) { s.Add(ops.Concat, ops.AxisAttr{Axis: 1}, s.x, s.weight("e")) },
			"concat(%x: tensor<T x 4 x f32>, %6: tensor<16 x 4 x f32>): operand 1 differs from the first outside axis 1"},
		{"concat of one", func(s start) { s.Add(ops.Concat, ops.AxisAttr{}, s.x) }, "concat(%x: tensor<T x 4 x f32>): takes 2 to 16 operands, got 1"},
		{"concat of a state", func(s start) { s.Add(ops.Concat, ops.AxisAttr{}, s.state(), s.x) },
			"concat(%6: state<4 x f32>, %x: tensor<T x 4 x f32>): operands must be tensors"},
		{"rows by a real index", func(s start) { s.Add(ops.TakeRows, nil, s.x, s.x) },
			"take_rows(%x: tensor<T x 4 x f32>, %x: tensor<T x 4 x f32>): operand 1 must be a tensor of i32"},
		{"rows of a state", func(s start) { s.Add(ops.TakeRows, nil, s.state(), s.token) },
			"take_rows(%6: state<4 x f32>, %token: tensor<T x i32>): operand 0 must be a tensor of rows"},
		{"take along", func(s start) { s.Add(ops.TakeAlong, nil, s.x, s.token) },
			"take_along(%x: tensor<T x 4 x f32>, %token: tensor<T x i32>): takes x [rows, n] and an index [rows, k]"},
		{"mask", func(s start) { s.Add(ops.Mask, ops.MaskAttr{}, s.x, s.token) },
			"mask(%x: tensor<T x 4 x f32>, %token: tensor<T x i32>): takes x [rows, ..., k] and an index [rows, k]"},
		{"clamp", func(s start) { s.Add(ops.Clamp, ops.ClampAttr{Min: 1, Max: -1}, s.x) },
			"clamp(%x: tensor<T x 4 x f32>): min 1 must be at most max -1"},
		{"clamp to NaN", func(s start) { s.Add(ops.Clamp, ops.ClampAttr{Min: math.NaN()}, s.x) },
			"clamp(%x: tensor<T x 4 x f32>): min NaN must be at most max 0"},
		{"sinkhorn", func(s start) { s.Add(ops.Sinkhorn, ops.SinkhornAttr{Iters: 1}, s.x) },
			"sinkhorn(%x: tensor<T x 4 x f32>): operand must end in a square matrix"},
		{"sinkhorn rounds", func(s start) {
			s.Add(ops.Sinkhorn, ops.SinkhornAttr{}, s.Add(ops.Reshape, shape(T, n(2), n(2)), s.x))
		}, "sinkhorn(%6: tensor<T x 2 x 2 x f32>): iters must be 1 or more, is 0"},
		{"sink", func(s start) { s.Add(ops.SinkSoftmax, nil, s.x, s.x) },
			"sink_softmax(%x: tensor<T x 4 x f32>, %x: tensor<T x 4 x f32>): takes scores [rows, heads, keys] and a sink [heads]"},
		{"expert matmul", func(s start) { s.Add(ops.ExpertMatmul, nil, s.x, s.token, s.weight("w3")) },
			"expert_matmul(%x: tensor<T x 4 x f32>, %token: tensor<T x i32>, %6: tensor<2 x 3 x 4 x f32>): takes x [rows, k] or [rows, e, k], ids [rows, e] and w [experts, n, k]"},
		{"einsum spec", func(s start) { s.Add(ops.Einsum, ops.EinsumAttr{Spec: "td"}, s.x, s.x) },
			`einsum(%x: tensor<T x 4 x f32>, %x: tensor<T x 4 x f32>): spec "td" must look like "tk,tkd->td"`},
		{"einsum letter", func(s start) { s.Add(ops.Einsum, ops.EinsumAttr{Spec: "tt,td->t"}, s.x, s.x) },
			`einsum(%x: tensor<T x 4 x f32>, %x: tensor<T x 4 x f32>): spec "tt,td->t": "tt" must be different small letters`},
		{"einsum alone left", func(s start) { s.Add(ops.Einsum, ops.EinsumAttr{Spec: "td,te->te"}, s.x, s.x) },
			`einsum(%x: tensor<T x 4 x f32>, %x: tensor<T x 4 x f32>): spec "td,te->te": d stands in one operand only`},
		{"einsum alone right", func(s start) { s.Add(ops.Einsum, ops.EinsumAttr{Spec: "td,te->td"}, s.x, s.x) },
			`einsum(%x: tensor<T x 4 x f32>, %x: tensor<T x 4 x f32>): spec "td,te->td": e stands in one operand only`},
		{"einsum result", func(s start) { s.Add(ops.Einsum, ops.EinsumAttr{Spec: "td,td->tz"}, s.x, s.x) },
			`einsum(%x: tensor<T x 4 x f32>, %x: tensor<T x 4 x f32>): spec "td,td->tz": the result names a dimension no operand has, or none`},
		{"einsum rank", func(s start) { s.Add(ops.Einsum, ops.EinsumAttr{Spec: "tdk,td->tk"}, s.x, s.x) },
			`einsum(%x: tensor<T x 4 x f32>, %x: tensor<T x 4 x f32>): spec "tdk,td->tk" does not fit ranks 2 and 2`},
		{"einsum size", func(s start) {
			s.Add(ops.Einsum, ops.EinsumAttr{Spec: "td,ed->te"}, s.x, s.Add(ops.Slice, ops.SliceAttr{Axis: 1, Count: 3}, s.x))
		},
			`einsum(%x: tensor<T x 4 x f32>, %6: tensor<T x 3 x f32>): spec "td,ed->te": d is 4 and 3`},
		{"index formula", func(s start) { s.Add(ops.IndexMap, ops.IndexMapAttr{To: T.Add(i)}, s.token) },
			"index_map(%token: tensor<T x i32>): formula T+i names T; only i is known there"},
		{"index overflow", func(s start) { s.Add(ops.IndexMap, ops.IndexMapAttr{To: n(math.MinInt64)}, s.token) },
			"index_map(%token: tensor<T x i32>): formula leaves the 64-bit range"},
		{"range limit", func(s start) { s.Add(ops.IndexRange, ops.IndexRangeAttr{Count: T, Limit: T}, s.token) },
			"index_range(%token: tensor<T x i32>): formula T names T; only i is known there"},
		{"range count", func(s start) { s.Add(ops.IndexRange, ops.IndexRangeAttr{Count: n(math.MinInt64)}, s.token) },
			"index_range(%token: tensor<T x i32>): a size of the result leaves the 64-bit range"},
		{"range rank", func(s start) {
			s.Add(ops.IndexRange, ops.IndexRangeAttr{}, s.Add(ops.Reshape, shape(T, n(1)), s.token))
		},
			"index_range(%6: tensor<T x 1 x i32>): takes one index per row"},
		{"closing ratio", func(s start) { s.Add(ops.ClosingRows, ops.RatioAttr{Ratio: 8}, s.position) },
			"closing_rows(%position: tensor<T x i32>): the module declares no symbol closing(8)"},
		{"closing rank", func(s start) {
			s.Add(ops.ClosingRows, ops.RatioAttr{Ratio: 4}, s.Add(ops.Reshape, shape(T, n(1)), s.position))
		},
			"closing_rows(%6: tensor<T x 1 x i32>): takes one position per row"},
		{"sort", func(s start) { s.Add(ops.Sort, nil, s.x) }, "sort(%x: tensor<T x 4 x f32>): operand 0 must be a tensor of i32"},
		{"topk k", func(s start) { s.Add(ops.TopK, ops.TopKAttr{}, s.x) }, "topk(%x: tensor<T x 4 x f32>): takes scores [rows, n] and k of 1 or more"},
		{"topk ids", func(s start) { s.Add(ops.TopK, ops.TopKAttr{K: 1}, s.x, s.token) },
			"topk(%x: tensor<T x 4 x f32>, %token: tensor<T x i32>): ids must have the scores' shape"},
		{"rope rows", func(s start) { s.Add(ops.Rope, ops.RopeAttr{Dims: 4, Theta: 10}, s.x, s.wanted) },
			"rope(%x: tensor<T x 4 x f32>, %wanted: tensor<W x i32>): takes x [rows, ..., d] and positions [rows]"},
		{"rope dims", func(s start) { s.Add(ops.Rope, ops.RopeAttr{Dims: 6, Theta: 10}, s.x, s.position) },
			"rope(%x: tensor<T x 4 x f32>, %position: tensor<T x i32>): dims 6 must be even and at most the last dimension, 4"},
		{"rope theta", func(s start) { s.Add(ops.Rope, ops.RopeAttr{Dims: 4, Theta: 1}, s.x, s.position) },
			"rope(%x: tensor<T x 4 x f32>, %position: tensor<T x i32>): theta 1 must be above 1"},
		{"rope yarn", func(s start) { s.Add(ops.Rope, ops.RopeAttr{Dims: 4, Theta: 10, Factor: 2}, s.x, s.position) },
			"rope(%x: tensor<T x 4 x f32>, %position: tensor<T x i32>): YaRN needs factor, original, betaFast and betaSlow above 0"},
		{"append rows", func(s start) {
			s.Add(ops.Append, nil, s.state(), s.slot, s.position, s.Add(ops.Slice, ops.SliceAttr{Axis: 1, Count: 3}, s.x))
		},
			"append(%6: state<4 x f32>, %slot: tensor<T x i32>, %position: tensor<T x i32>, %7: tensor<T x 3 x f32>): takes slots [r], indices [r] and rows [r, [4]]"},
		{"append to a tensor", func(s start) { s.Add(ops.Append, nil, s.x, s.slot, s.position, s.x) },
			"append(%x: tensor<T x 4 x f32>, %slot: tensor<T x i32>, %position: tensor<T x i32>, %x: tensor<T x 4 x f32>): operand 0 must be a state"},
		{"read", func(s start) { s.Add(ops.Read, ops.ReadAttr{}, s.state(), s.slot, s.position) },
			"read(%6: state<4 x f32>, %slot: tensor<T x i32>, %position: tensor<T x i32>): takes slots [r] and indices [r, k]"},
		{"integer state", func(s start) {
			s.State(ir.State{Name: "ints", Row: ir.Tensor(ir.I32, n(1))})
			s.AddNaming(ops.State, nil, "ints")
		}, "state @ints(): the rows of a state must be f32"},
		{"own error", func(s start) { s.Fail("layer %d is odd", 3) }, "layer 3 is odd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStart()
			c.build(s)
			if err := s.Err(); err == nil || err.Error() != c.want {
				t.Fatalf("error %v\nwant  %s", err, c.want)
			}
			s.Add(ops.Sqrt, nil, s.token) // wrong too, but the first error sticks
			s.Fail("later")
			s.Return(s.x)
			if _, err := s.Module(); err == nil || err.Error() != c.want {
				t.Errorf("Module: error %v", err)
			}
		})
	}
}

func TestBuilderModule(t *testing.T) {
	s := newStart()
	s.Return(s.x)
	m, err := s.Module()
	if err != nil {
		t.Fatal(err)
	}
	if m.Param("e") != m.Params[0] || m.Param("s") != nil || m.State("s") != m.States[0] || m.State("e") != nil {
		t.Error("Param or State finds something else")
	}
	var refs []string
	for _, n := range m.Nodes {
		refs = append(refs, n.Result.Ref())
	}
	if got := strings.Join(refs, " "); got != "%4 %x" {
		t.Errorf("results are %s", got)
	}
}
