// Package ops is the table of the IR's operations: one row each, with its type
// rule, numeric contract and reference function. A family of operations has
// one file, which begins with their declarations; adding an operation is one
// declaration and one row here. A module is built with them by [ir.Builder]:
//
//	y := b.Add(ops.Softmax, ops.AxisAttr{Axis: -1}, x)
//
// An operation that has an Attr takes a value of that type, others take nil.
//
// Reference functions are plain Go with the same bits on every machine:
// products are rounded before they are added (Go may fuse x*y+z otherwise),
// sums follow the order that reduce.go gives, elementary functions come from
// package num and are computed in float64. In the float32 evaluator every
// stored intermediate is a float32.
package ops

import "smelt.example/smelt/ir"

var table = checked(
	// parameters and states
	Dequantize, State, Append, Read,
	// rows and indices
	IndexMap, IndexRange, ClosingRows, Sort, TopK,
	// data movement
	Reshape, Broadcast, Slice, Concat, TakeRows, TakeAlong, Mask,
	// elementwise
	Add, Mul, Div, Scale, Offset, Clamp, Sigmoid, Silu, Relu, Softplus, Sqrt,
	// sums and norms
	ReduceSum, RMSNorm, Softmax, SinkSoftmax, Sinkhorn,
	// contractions
	Matmul, Einsum, ExpertMatmul,
	// positions
	Rope,
	// stored formats of caches
	Hadamard, RoundTo,
)

// checked panics when a row lacks a column or a name stands twice: the program
// must not start with an incomplete table.
func checked(rows ...*ir.Op) map[string]*ir.Op {
	byName := make(map[string]*ir.Op, len(rows))
	for _, op := range rows {
		if err := op.Check(); err != nil {
			panic(err)
		}
		if byName[op.Name] != nil {
			panic("ir/ops: two rows are named " + op.Name)
		}
		byName[op.Name] = op
	}
	return byName
}

// Named returns the operation of that name, or nil.
func Named(name string) *ir.Op { return table[name] }

// Names lists all operations, sorted.
func Names() []string { return sortedKeys(table) }
