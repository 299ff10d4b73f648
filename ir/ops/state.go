package ops

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
)

// Parameters and states.
var (
	// Dequantize gives a parameter's stored values as the graph's element. Real
	// values are exact in float64 and rounded once in float32 (package encoding).
	// They are decoded where they are used.
	Dequantize = &ir.Op{
		Name: "dequantize", Doc: "a parameter's values, decoded from their stored format",
		Refers: ir.RefersToParam, Effect: ir.ReadsWeights, Class: ir.Class{Kind: ir.Exact},
		Types:   func(s *ir.Signature) (ir.Type, error) { return s.Referent, nil },
		Execute: ir.Both(dequantize[float32], dequantize[float64]),
	}

	// State opens a state: its contents as earlier steps left them.
	State = &ir.Op{
		Name: "state", Doc: "a state as earlier steps left it",
		Refers: ir.RefersToState, Effect: ir.ReadsState, Class: ir.Class{Kind: ir.Exact},
		Types:   stateRule,
		Execute: ir.Both(openState[float32], openState[float64]),
	}

	// Append adds rows to a state: row r goes to the log of slot[r] at index[r],
	// which must be the next free one. Operands: state, slot [R], index [R],
	// rows [R, ...]. The result is the state's next version; the old one cannot be
	// used any more.
	Append = &ir.Op{
		Name: "append", Doc: "the state with rows added to the logs of their slots",
		Arity: ir.Arity{Min: 4, Max: 4}, Effect: ir.AppendsState, Class: ir.Class{Kind: ir.Exact},
		Types:   appendRule,
		Execute: ir.Both(appendRows[float32], appendRows[float64]),
		Indexes: []ir.Index{{Operand: 1, Into: 0}, {Operand: 2, Into: 0}},
	}

	// Read looks rows up: for index [R, K] and slot [R] the result [R, K, ...]
	// holds row index[r,k] of the log of slot[r].
	Read = &ir.Op{
		Name: "read", Doc: "rows of a state by slot and index; missing where the index is -1",
		Arity: ir.Arity{Min: 3, Max: 3}, Attr: ReadAttr{}, Effect: ir.ReadsState, Class: ir.Class{Kind: ir.Exact},
		Types:   readRule,
		Execute: ir.Both(readRows[float32], readRows[float64]),
		Indexes: []ir.Index{{Operand: 1, Into: 0}, {Operand: 2, Into: 0}},
	}
)

func dequantize[F tensor.Float](c *ir.Call[F]) error {
	if rows, cols := c.Param.Rows(), c.Param.Cols(); rows*cols != tensor.Len(c.Shape) || cols != c.Shape[len(c.Shape)-1] {
		return fmt.Errorf("bound to %d x %d values, declared as %v", rows, cols, c.Shape)
	}
	c.Out = tensor.Value[F]{Shape: c.Shape, Rows: c.Param}
	return nil
}

func stateRule(s *ir.Signature) (ir.Type, error) {
	if s.Referent.Elem != ir.F32 {
		return s.Referent, fmt.Errorf("the rows of a state must be f32")
	}
	return s.Referent, nil
}

func openState[F tensor.Float](c *ir.Call[F]) error {
	c.Out = tensor.Value[F]{Shape: c.Shape, Log: c.State}
	return nil
}

func appendRule(s *ir.Signature) (ir.Type, error) {
	st, rows := s.Args[0], s.Args[3]
	if !st.State {
		return st, fmt.Errorf("operand 0 must be a state")
	}
	for i := 1; i <= 2; i++ {
		if err := operand(s, i, ir.I32); err != nil {
			return st, err
		}
	}
	slot, index := s.Args[1], s.Args[2]
	if slot.Rank() != 1 || !slices.EqualFunc(slot.Shape, index.Shape, ir.Expr.Equal) || rows.State || rows.Elem != st.Elem ||
		rows.Rank() == 0 || !rows.Shape[0].Equal(slot.Shape[0]) || !slices.EqualFunc(rows.Shape[1:], st.Shape, ir.Expr.Equal) {
		return st, fmt.Errorf("takes slots [r], indices [r] and rows [r, %s]", st.Shape)
	}
	return st, nil
}

func appendRows[F tensor.Float](c *ir.Call[F]) error {
	slot, index, err := twoInts(c.Args[1], c.Args[2])
	if err != nil {
		return err
	}
	log, rows := c.Args[0].Log, c.Args[3].Dense()
	w := log.Width()
	for r := range slot {
		if err := log.Append(slot[r], int(index[r]), rows[r*w:(r+1)*w]); err != nil {
			return err
		}
	}
	c.Out = tensor.Value[F]{Shape: c.Shape, Log: log}
	return nil
}

// ReadAttr holds the value that stands in for rows an index list leaves out (-1).
type ReadAttr struct{ Missing float64 }

func readRule(s *ir.Signature) (ir.Type, error) {
	st := s.Args[0]
	if !st.State {
		return st, fmt.Errorf("operand 0 must be a state")
	}
	for i := 1; i <= 2; i++ {
		if err := operand(s, i, ir.I32); err != nil {
			return st, err
		}
	}
	slot, index := s.Args[1], s.Args[2]
	if slot.Rank() != 1 || index.Rank() != 2 || !index.Shape[0].Equal(slot.Shape[0]) {
		return st, fmt.Errorf("takes slots [r] and indices [r, k]")
	}
	return ir.Tensor(st.Elem, append(append([]ir.Expr(nil), index.Shape...), st.Shape...)...), nil
}

func readRows[F tensor.Float](c *ir.Call[F]) error {
	slot, index, err := twoInts(c.Args[1], c.Args[2])
	if err != nil {
		return err
	}
	log := c.Args[0].Log
	missing, w, k := F(c.Node.Attr.(ReadAttr).Missing), log.Width(), c.Shape[1]
	out := newReal(c)
	errs := newFirstError(len(slot))
	c.Parallel(len(slot), func(lo, hi int) {
		for i := lo * k; i < hi*k; i++ {
			dst := out[i*w : (i+1)*w]
			if index[i] < 0 {
				for j := range dst {
					dst[j] = missing
				}
				continue
			}
			row, err := log.Row(slot[i/k], int(index[i]))
			if err != nil {
				errs.set(i/k, err)
				return
			}
			copy(dst, row)
		}
	})
	return errs.err()
}

func twoInts[F tensor.Float](a, b tensor.Value[F]) (x, y []int32, err error) {
	if x, err = a.Ints(); err == nil {
		y, err = b.Ints()
	}
	return x, y, err
}
