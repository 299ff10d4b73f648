package ops

import (
	"fmt"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
)

// Rows and elements by index. An index outside is an error.
var (
	// TakeRows picks rows of data [N, ...] by index [...]: the embedding look-up,
	// the hash table of experts, the rows that close a window.
	TakeRows = &ir.Op{
		Name: "take_rows", Doc: "rows of the first operand's leading axis, by index",
		Arity: ir.Arity{Min: 2, Max: 2}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Exact},
		Types:   takeRowsRule,
		Execute: ir.Both(takeRows[float32], takeRows[float64]),
		Indexes: []ir.Index{{Operand: 1, Into: 0, Axis: 0}},
	}

	// TakeAlong picks from each row of x [T, N] the elements that index [T, K] names.
	TakeAlong = &ir.Op{
		Name: "take_along", Doc: "per row, the elements of the last axis that the index names",
		Arity: ir.Arity{Min: 2, Max: 2}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Exact},
		Types:   takeAlongRule,
		Execute: ir.Both(takeAlong[float32], takeAlong[float64]),
		Indexes: []ir.Index{{Operand: 1, Into: 0, Axis: -1}},
	}

	// Mask puts Fill where an index list [T, K] says "none" (-1), in a tensor
	// [T, ..., K].
	Mask = &ir.Op{
		Name: "mask", Doc: "the first operand, with fill where the index is -1",
		Arity: ir.Arity{Min: 2, Max: 2}, Attr: MaskAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Exact},
		Types:   maskRule,
		Execute: ir.Both(mask[float32], mask[float64]),
	}
)

func takeRowsRule(s *ir.Signature) (ir.Type, error) {
	if err := operand(s, 1, ir.I32); err != nil {
		return ir.Type{}, err
	}
	data, index := s.Args[0], s.Args[1]
	if data.State || data.Rank() == 0 {
		return data, fmt.Errorf("operand 0 must be a tensor of rows")
	}
	return ir.Tensor(data.Elem, append(append([]ir.Expr(nil), index.Shape...), data.Shape[1:]...)...), nil
}

func takeRows[F tensor.Float](c *ir.Call[F]) error {
	index, err := c.Args[1].Ints()
	if err != nil {
		return err
	}
	data := c.Args[0]
	n, width := data.Shape[0], tensor.Len(data.Shape[1:])
	for _, r := range index {
		if r < 0 || int(r) >= n {
			return fmt.Errorf("index %d is outside %d rows", r, n)
		}
	}
	chosen := data.Rows != nil && len(data.Shape) > 1 // decode the chosen rows only
	switch integer := c.Node.Result.Type.Elem == ir.I32; {
	case integer && chosen:
		return decodeRows(newInts(c), data.Rows, index, width, data.Rows.Ints)
	case integer:
		all, err := data.Ints()
		if err != nil {
			return err
		}
		take(newInts(c), all, index, width)
	case chosen:
		return decodeRows(newReal(c), data.Rows, index, width, func(dst []F, r int) error {
			tensor.DecodeRow(data.Rows, dst, r)
			return nil
		})
	default:
		take(newReal(c), data.Dense(), index, width)
	}
	return nil
}

func take[E any](out, data []E, index []int32, width int) {
	for i, r := range index {
		copy(out[i*width:(i+1)*width], data[int(r)*width:])
	}
}

// decodeRows is take for a parameter: an index names width/Cols() of its rows.
func decodeRows[E any](out []E, s tensor.Source, index []int32, width int, decode func(dst []E, r int) error) error {
	cols := s.Cols()
	per := width / cols
	for i, r := range index {
		for k := range per {
			at := (i*per + k) * cols
			if err := decode(out[at:at+cols], int(r)*per+k); err != nil {
				return err
			}
		}
	}
	return nil
}

func takeAlongRule(s *ir.Signature) (ir.Type, error) {
	if err := operands(s, ir.F32, ir.I32); err != nil {
		return ir.Type{}, err
	}
	x, index := s.Args[0], s.Args[1]
	if x.Rank() != 2 || index.Rank() != 2 || !x.Shape[0].Equal(index.Shape[0]) {
		return x, fmt.Errorf("takes x [rows, n] and an index [rows, k]")
	}
	return ir.Tensor(ir.F32, index.Shape...), nil
}

func takeAlong[F tensor.Float](c *ir.Call[F]) error {
	index, err := c.Args[1].Ints()
	if err != nil {
		return err
	}
	x, n, k := c.Args[0].Dense(), c.Args[0].Shape[1], c.Shape[1]
	out := newReal(c)
	for i, j := range index {
		if j < 0 || int(j) >= n {
			return fmt.Errorf("index %d is outside %d elements", j, n)
		}
		out[i] = x[i/k*n+int(j)]
	}
	return nil
}

// MaskAttr holds the value of masked elements.
type MaskAttr struct{ Fill float64 }

func maskRule(s *ir.Signature) (ir.Type, error) {
	if err := operands(s, ir.F32, ir.I32); err != nil {
		return ir.Type{}, err
	}
	x, index := s.Args[0], s.Args[1]
	if x.Rank() < 2 || index.Rank() != 2 || !x.Shape[0].Equal(index.Shape[0]) || !x.Shape[x.Rank()-1].Equal(index.Shape[1]) {
		return x, fmt.Errorf("takes x [rows, ..., k] and an index [rows, k]")
	}
	return x, nil
}

func mask[F tensor.Float](c *ir.Call[F]) error {
	index, err := c.Args[1].Ints()
	if err != nil {
		return err
	}
	x, fill := c.Args[0].Dense(), F(c.Node.Attr.(MaskAttr).Fill)
	rows, k := c.Shape[0], c.Shape[len(c.Shape)-1]
	out := newReal(c)
	copy(out, x)
	if rows == 0 || k == 0 {
		return nil
	}
	per := len(x) / rows
	for i := range out {
		if index[i/per*k+i%k] < 0 {
			out[i] = fill
		}
	}
	return nil
}
