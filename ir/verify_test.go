package ir_test

import (
	"errors"
	"math"
	"testing"

	"smelt.example/smelt/internal/ir/fault"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// whole builds a module that uses everything the verifier looks at.
func whole(t *testing.T) *ir.Module {
	t.Helper()
	s := newStart()
	st := s.Add(ops.Append, nil, s.state(), s.slot, s.position, s.x)
	index := s.Add(ops.IndexRange, ops.IndexRangeAttr{First: ir.Sym("i"), Count: ir.Const(1), Limit: ir.Sym("i").Add(ir.Const(1))}, s.position)
	s.Return(s.Add(ops.Read, ops.ReadAttr{}, st, s.slot, index), s.x)
	m, err := s.Module()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Nodes of whole: dequantize, take_rows (x), state, append, index_range, read.
const (
	nodeX = iota + 1
	nodeState
	nodeAppend
	nodeRange
	nodeRead
)

// TestVerify breaks a correct module in one place at a time.
func TestVerify(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(m *ir.Module)
		part  fault.Part
		index int
		want  string
	}{
		{"module name", func(m *ir.Module) { m.Name = "a b" }, fault.Header, 0, `module @a b: the module's name "a b" is not a name`},
		{"symbol name", func(m *ir.Module) { m.Symbols[1].Name = "1" }, fault.Symbols, 1, `module @m: symbol "1": not a name, or declared twice`},
		{"symbol twice", func(m *ir.Module) { m.Symbols[3].Name = "T" }, fault.Symbols, 3, `module @m: symbol "T": not a name, or declared twice`},
		{"symbol definition", func(m *ir.Module) { m.Symbols[0].Def = 9 }, fault.Symbols, 0, `module @m: symbol T: definition 9 is unknown`},
		{"closing without ratio", func(m *ir.Module) { m.Symbols[3].Arg = 0 }, fault.Symbols, 3, `module @m: symbol E4: closing takes a ratio above 0, the others none`},
		{"rows with ratio", func(m *ir.Module) { m.Symbols[0].Arg = 4 }, fault.Symbols, 0, `module @m: symbol T: closing takes a ratio above 0, the others none`},
		{"parameter name", func(m *ir.Module) { m.Params[0].Name = "" }, fault.Params, 0, `module @m: parameter @: not a name, or declared twice`},
		{"parameter twice", func(m *ir.Module) { m.Params[1].Name = "e" }, fault.Params, 1, `module @m: parameter @e: not a name, or declared twice`},
		{"parameter of a symbol", func(m *ir.Module) { m.Params[0].Type.Shape[0] = ir.Sym("T") }, fault.Params, 0,
			`module @m: parameter @e: tensor<T x 4 x f32>: size T is not a positive number`},
		{"parameter without elements", func(m *ir.Module) { m.Params[0].Type.Shape[0] = ir.Const(0) }, fault.Params, 0,
			`module @m: parameter @e: tensor<0 x 4 x f32>: size 0 is not a positive number`},
		{"parameter without dimensions", func(m *ir.Module) { m.Params[0].Type.Shape = nil }, fault.Params, 0,
			`module @m: parameter @e: tensor<f32>: must be a tensor of at least one dimension`},
		{"parameter is a state", func(m *ir.Module) { m.Params[0].Type.State = true }, fault.Params, 0,
			`module @m: parameter @e: state<16 x 4 x f32>: must be a tensor of at least one dimension`},
		{"parameter too large", func(m *ir.Module) { m.Params[0].Type.Shape = ir.Dims(1<<40, 1<<40) }, fault.Params, 0,
			`module @m: parameter @e: tensor<1099511627776 x 1099511627776 x f32>: the number of elements leaves the 64-bit range`},
		{"encoding", func(m *ir.Module) { m.Params[0].Encoding = "b f" }, fault.Params, 0, `module @m: parameter @e: encoding "b f" is not a name`},
		{"state name", func(m *ir.Module) { m.States[0].Name = "s-" }, fault.States, 0, `module @m: state @s-: not a name, or declared twice`},
		{"state twice", func(m *ir.Module) { m.States = append(m.States, m.States[0]) }, fault.States, 1, `module @m: state @s: not a name, or declared twice`},
		{"state row", func(m *ir.Module) { m.States[0].Row.Shape[0] = ir.Const(-4) }, fault.States, 0, `module @m: state @s: tensor<-4 x f32>: size -4 is not a positive number`},
		{"keep symbol", func(m *ir.Module) { m.States[0].Keep = ir.Sym("Q").FloorDiv(2) }, fault.States, 0, `module @m: state @s: keep: symbol Q is not declared`},
		{"keep overflow", func(m *ir.Module) { m.States[0].Keep = ir.Const(math.MinInt64) }, fault.States, 0, `module @m: state @s: keep: expression leaves the 64-bit range`},
		{"stored", func(m *ir.Module) { m.States[0].Stored = "fp 8" }, fault.States, 0, `module @m: state @s: stored "fp 8" is not a name`},
		{"input without name", func(m *ir.Module) { m.Inputs[1].Name = "" }, fault.Inputs, 1, `module @m: input %1: must be a named tensor no operation defines`},
		{"input is a state", func(m *ir.Module) { m.Inputs[0].Type.State = true }, fault.Inputs, 0, `module @m: input %token: must be a named tensor no operation defines`},
		{"input is a result", func(m *ir.Module) { m.Inputs[2].Def = m.Nodes[0] }, fault.Inputs, 2, `module @m: input %slot: must be a named tensor no operation defines`},
		{"input name twice", func(m *ir.Module) { m.Inputs[1].Name = "token" }, fault.Inputs, 1, `module @m: value %token: not a name, or used twice`},
		{"input without dimensions", func(m *ir.Module) { m.Inputs[0].Type.Shape = nil }, fault.Inputs, 0, `module @m: value %token: tensor<i32> lacks a dimension`},
		{"input symbol", func(m *ir.Module) { m.Inputs[3].Type.Shape[0] = ir.Sym("V") }, fault.Inputs, 3,
			`module @m: value %wanted: tensor<V x i32>: symbol V is not declared`},
		{"input number", func(m *ir.Module) { m.Inputs[1].ID = 0 }, fault.Inputs, 1, `module @m: value %position: number 0 does not follow 0`},
		{"no result", func(m *ir.Module) { m.Nodes[nodeX].Result = nil }, fault.Nodes, nodeX, `module @m: a node lacks its result`},
		{"result of another", func(m *ir.Module) { m.Nodes[nodeX].Result.Def = m.Nodes[0] }, fault.Nodes, nodeX, `module @m: a node lacks its result`},
		{"no operation", func(m *ir.Module) { m.Nodes[nodeX].Op = nil }, fault.Nodes, nodeX, `module @m: %x: a node lacks its operation`},
		{"use before definition", func(m *ir.Module) { m.Nodes[0], m.Nodes[1] = m.Nodes[1], m.Nodes[0] }, fault.Nodes, 0,
			`module @m: %x: operand %4 is not defined before its use`},
		{"operand of another module", func(m *ir.Module) { m.Nodes[nodeX].Args[1] = &ir.Value{Name: "token", Type: m.Inputs[0].Type} }, fault.Nodes, nodeX,
			`module @m: %x: operand %token is not defined before its use`},
		{"operand nil", func(m *ir.Module) { m.Nodes[nodeX].Args[1] = nil }, fault.Nodes, nodeX, `module @m: %x: operand %<nil> is not defined before its use`},
		{"type rule", func(m *ir.Module) { m.Nodes[nodeX].Args[1] = m.Nodes[0].Result }, fault.Nodes, nodeX,
			`module @m: %x: take_rows(%4: tensor<16 x 4 x f32>, %4: tensor<16 x 4 x f32>): operand 1 must be a tensor of i32`},
		{"type", func(m *ir.Module) { m.Nodes[nodeX].Result.Type = ir.Tensor(ir.F32, ir.Sym("T"), ir.Const(5)) }, fault.Nodes, nodeX,
			`module @m: %x: take_rows(%4: tensor<16 x 4 x f32>, %token: tensor<T x i32>): has type tensor<T x 5 x f32>, the operation gives tensor<T x 4 x f32>`},
		{"parameter gone", func(m *ir.Module) { m.Params = m.Params[1:] }, fault.Nodes, 0, `module @m: %4: dequantize @e(): no parameter @e is declared`},
		{"attribute", func(m *ir.Module) { m.Nodes[nodeRange].Attr = nil }, fault.Nodes, nodeRange,
			`module @m: %8: index_range(%position: tensor<T x i32>): attribute must be ops.IndexRangeAttr, is <nil>`},
		{"value name", func(m *ir.Module) { m.Nodes[nodeRange].Result.Name = "%" }, fault.Nodes, nodeRange, `module @m: value %%: not a name, or used twice`},
		{"value name twice", func(m *ir.Module) { m.Nodes[nodeRange].Result.Name = "x" }, fault.Nodes, nodeRange, `module @m: value %x: not a name, or used twice`},
		{"number", func(m *ir.Module) { m.Nodes[nodeRange].Result.ID = 7 }, fault.Nodes, nodeRange, `module @m: value %7: number 7 does not follow 7`},
		{"symbol in a result", func(m *ir.Module) {
			shape := []ir.Expr{ir.Sym("T"), ir.Sym("K")}
			m.Nodes[nodeRange].Attr = ops.IndexRangeAttr{Count: ir.Sym("K")}
			m.Nodes[nodeRange].Result.Type.Shape = shape
		}, fault.Nodes, nodeRange, `module @m: value %8: tensor<T x K x i32>: symbol K is not declared`},
		{"version read after append", func(m *ir.Module) { m.Nodes[nodeRead].Args[0] = m.Nodes[nodeState].Result }, fault.Nodes, nodeRead,
			`module @m: %9: read(%6: state<4 x f32>, %slot: tensor<T x i32>, %8: tensor<T x 1 x i32>): version %6 was appended to by %7 and cannot be used again`},
		{"version appended twice", func(m *ir.Module) {
			again := &ir.Node{Op: ops.Append, Args: m.Nodes[nodeAppend].Args}
			again.Result = &ir.Value{ID: 20, Type: m.Nodes[nodeAppend].Result.Type, Def: again}
			m.Nodes = append(m.Nodes, again)
		}, fault.Nodes, 6, `module @m: %20: append(%6: state<4 x f32>, %slot: tensor<T x i32>, %position: tensor<T x i32>, %x: tensor<T x 4 x f32>): version %6 was appended to by %7 and cannot be used again`},
		{"state opened twice", func(m *ir.Module) {
			again := &ir.Node{Op: ops.State, Symbol: "s"}
			again.Result = &ir.Value{ID: 20, Type: m.Nodes[nodeState].Result.Type, Def: again}
			m.Nodes = append(m.Nodes, again)
		}, fault.Nodes, 6, `module @m: %20: state @s(): state @s is opened twice`},
		{"no results", func(m *ir.Module) { m.Results = nil }, fault.Results, 0, `module @m: returns nothing`},
		{"result of another module", func(m *ir.Module) { m.Results[1] = &ir.Value{Name: "y"} }, fault.Results, 1, `module @m: result %y is not a tensor of this module`},
		{"result is nil", func(m *ir.Module) { m.Results[0] = nil }, fault.Results, 0, `module @m: result %<nil> is not a tensor of this module`},
		{"result is a state", func(m *ir.Module) { m.Results[0] = m.Nodes[nodeAppend].Result }, fault.Results, 0, `module @m: result %7 is not a tensor of this module`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := whole(t)
			c.spoil(m)
			err := ir.Verify(m)
			if err == nil || err.Error() != c.want {
				t.Fatalf("error %v\nwant  %s", err, c.want)
			}
			var f *fault.Error
			if !errors.As(err, &f) || f.Part != c.part || f.Index != c.index {
				t.Errorf("fault in part %d at %d, want part %d at %d", f.Part, f.Index, c.part, c.index)
			}
		})
	}
}
