package ops

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
)

// Rows and indices: exact arithmetic on integers, and choices among scores.
var (
	// IndexMap applies exact integer arithmetic to every element.
	IndexMap = &ir.Op{
		Name: "index_map", Doc: "an integer formula over i, applied to every element",
		Arity: ir.Arity{Min: 1, Max: 1}, Attr: IndexMapAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Exact},
		Types:    indexMapRule,
		Execute:  ir.Both(indexMap[float32], indexMap[float64]),
		Computes: true,
	}

	// IndexRange lists consecutive indices per row: window positions, visible
	// entries, the tokens of a block. Indices below 0 or at Limit and above become
	// -1 ("none").
	IndexRange = &ir.Op{
		Name: "index_range", Doc: "per row, count indices from first(i); -1 outside [0, limit(i))",
		Arity: ir.Arity{Min: 1, Max: 1}, Attr: IndexRangeAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Exact},
		Types:    indexRangeRule,
		Execute:  ir.Both(indexRange[float32], indexRange[float64]),
		Computes: true,
	}

	// ClosingRows lists, ascending, the rows of the step whose position closes a
	// block of Ratio tokens: (position+1) mod Ratio = 0. The module must declare
	// the symbol closing(Ratio), which is the length of the list.
	ClosingRows = &ir.Op{
		Name: "closing_rows", Doc: "the rows whose position closes a block of ratio tokens",
		Arity: ir.Arity{Min: 1, Max: 1}, Attr: RatioAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Exact},
		Types:    closingRowsRule,
		Execute:  ir.Both(closingRows[float32], closingRows[float64]),
		Computes: true,
	}

	// Sort puts the last axis in ascending order.
	Sort = &ir.Op{
		Name: "sort", Doc: "integers of the last axis, ascending",
		Arity: ir.Arity{Min: 1, Max: 1}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Exact},
		Types:   func(s *ir.Signature) (ir.Type, error) { return s.Args[0], operand(s, 0, ir.I32) },
		Execute: ir.Both(sortLast[float32], sortLast[float64]),
	}

	// TopK keeps per row the K largest of scores [T, N] and returns their ids
	// ascending, -1 behind them when there are fewer. Ids are 0..N-1, or those of
	// a second operand [T, N] in which -1 means "not to be chosen". The order is
	// total: higher score first, then lower position; +0 equals -0; NaN is last.
	TopK = &ir.Op{
		Name: "topk", Doc: "per row, the ids of the k largest scores, ascending, -1 behind",
		Arity: ir.Arity{Min: 1, Max: 2}, Attr: TopKAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Exact},
		Types:   topKRule,
		Execute: ir.Both(topK[float32], topK[float64]),
	}
)

// indexVariable is the operand's name in the formulas of IndexMap and IndexRange.
const indexVariable = "i"

// IndexMapAttr holds a formula over the variable i.
type IndexMapAttr struct{ To ir.Expr }

func indexMapRule(s *ir.Signature) (ir.Type, error) {
	if err := operand(s, 0, ir.I32); err != nil {
		return ir.Type{}, err
	}
	return s.Args[0], onlyIndexVariable(s.Attr.(IndexMapAttr).To)
}

func onlyIndexVariable(e ir.Expr) error {
	var bad string
	e.Walk(func(symbol string) {
		if symbol != indexVariable {
			bad = symbol
		}
	})
	switch {
	case e.Overflow():
		return fmt.Errorf("formula leaves the 64-bit range")
	case bad != "":
		return fmt.Errorf("formula %s names %s; only %s is known there", e, bad, indexVariable)
	}
	return nil
}

// formula evaluates e for one value of i.
func formula(e ir.Expr, i int32) (int64, error) {
	return e.Eval(func(string) (int64, bool) { return int64(i), true })
}

func toInt32(n int64) (int32, error) {
	if n != int64(int32(n)) {
		return 0, fmt.Errorf("index %d leaves the 32-bit range", n)
	}
	return int32(n), nil
}

func indexMap[F tensor.Float](c *ir.Call[F]) error {
	in, err := c.Args[0].Ints()
	if err != nil {
		return err
	}
	to := c.Node.Attr.(IndexMapAttr).To
	out := newInts(c)
	for k, i := range in {
		n, err := formula(to, i)
		if err == nil {
			out[k], err = toInt32(n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// IndexRangeAttr describes Count consecutive indices from First, of which
// those from 0 up to but not including Limit stand; First and Limit are
// formulas over i, Count is a size over the step's symbols.
type IndexRangeAttr struct{ First, Count, Limit ir.Expr }

func indexRangeRule(s *ir.Signature) (ir.Type, error) {
	if err := operand(s, 0, ir.I32); err != nil {
		return ir.Type{}, err
	}
	t, a := s.Args[0], s.Attr.(IndexRangeAttr)
	if err := onlyIndexVariable(a.First); err != nil {
		return t, err
	}
	if err := onlyIndexVariable(a.Limit); err != nil {
		return t, err
	}
	if t.Rank() != 1 {
		return t, fmt.Errorf("takes one index per row")
	}
	return ir.Tensor(ir.I32, t.Shape[0], a.Count), nil
}

func indexRange[F tensor.Float](c *ir.Call[F]) error {
	in, err := c.Args[0].Ints()
	if err != nil {
		return err
	}
	a, count := c.Node.Attr.(IndexRangeAttr), c.Shape[1]
	out := newInts(c)
	for r, i := range in {
		first, err := formula(a.First, i)
		if err != nil {
			return err
		}
		limit, err := formula(a.Limit, i)
		if err != nil {
			return err
		}
		for k := range count {
			n := first + int64(k)
			if n < 0 || n >= limit {
				n = -1
			}
			if out[r*count+k], err = toInt32(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// RatioAttr is the number of tokens a compressed entry stands for.
type RatioAttr struct{ Ratio int }

func closingRowsRule(s *ir.Signature) (ir.Type, error) {
	if err := operand(s, 0, ir.I32); err != nil {
		return ir.Type{}, err
	}
	t := s.Args[0]
	if t.Rank() != 1 {
		return t, fmt.Errorf("takes one position per row")
	}
	ratio := int64(s.Attr.(RatioAttr).Ratio)
	for _, sym := range s.Symbols {
		if sym.Def == ir.Closing && sym.Arg == ratio {
			return ir.Tensor(ir.I32, ir.Sym(sym.Name)), nil
		}
	}
	return t, fmt.Errorf("the module declares no symbol closing(%d)", ratio)
}

func closingRows[F tensor.Float](c *ir.Call[F]) error {
	in, err := c.Args[0].Ints()
	if err != nil {
		return err
	}
	ratio := int64(c.Node.Attr.(RatioAttr).Ratio)
	out := newInts(c)
	n := 0
	for r, pos := range in {
		if (int64(pos)+1)%ratio != 0 {
			continue
		}
		if n < len(out) {
			out[n] = int32(r)
		}
		n++
	}
	if n != len(out) {
		return fmt.Errorf("%d rows close a block of %d, the step counts %d: the operand must be the rows' positions", n, ratio, len(out))
	}
	return nil
}

func sortLast[F tensor.Float](c *ir.Call[F]) error {
	in, err := c.Args[0].Ints()
	if err != nil {
		return err
	}
	out := newInts(c)
	copy(out, in)
	n := c.Shape[len(c.Shape)-1]
	for i := 0; i+n <= len(out) && n > 0; i += n {
		slices.Sort(out[i : i+n])
	}
	return nil
}

// TopKAttr is the number of elements to keep.
type TopKAttr struct{ K int }

func topKRule(s *ir.Signature) (ir.Type, error) {
	if err := operand(s, 0, ir.F32); err != nil {
		return ir.Type{}, err
	}
	t, k := s.Args[0], s.Attr.(TopKAttr).K
	if t.Rank() != 2 || k < 1 {
		return t, fmt.Errorf("takes scores [rows, n] and k of 1 or more")
	}
	if len(s.Args) == 2 {
		if err := operand(s, 1, ir.I32); err != nil {
			return t, err
		}
		if !slices.EqualFunc(s.Args[1].Shape, t.Shape, ir.Expr.Equal) {
			return t, fmt.Errorf("ids must have the scores' shape")
		}
	}
	return ir.Tensor(ir.I32, t.Shape[0], ir.Const(int64(k))), nil
}

func topK[F tensor.Float](c *ir.Call[F]) error {
	scores, n, k := c.Args[0].Dense(), c.Args[0].Shape[1], c.Node.Attr.(TopKAttr).K
	var all []int32 // the ids scores stand for; nil: their positions
	if len(c.Args) == 2 {
		var err error
		if all, err = c.Args[1].Ints(); err != nil {
			return err
		}
	}
	out := newInts(c)
	c.Parallel(c.Shape[0], func(lo, hi int) {
		order := make([]int32, 0, n)
		for r := lo; r < hi; r++ {
			row := scores[r*n : (r+1)*n]
			var ids []int32
			if all != nil {
				ids = all[r*n : (r+1)*n]
			}
			order = order[:0]
			for i := range row {
				if ids == nil || ids[i] >= 0 {
					order = append(order, int32(i))
				}
			}
			selectTop(out[r*k:(r+1)*k], order, row, ids)
		}
	})
	return nil
}

func selectTop[F tensor.Float](dst, order []int32, scores []F, ids []int32) {
	if len(order) > len(dst) {
		slices.SortFunc(order, func(a, b int32) int {
			x, y := scores[a], scores[b]
			switch {
			case x > y, y != y && x == x:
				return -1
			case x < y, x != x && y == y:
				return 1
			}
			return int(a - b)
		})
		order = order[:len(dst)]
	}
	for i := range dst {
		switch {
		case i >= len(order):
			dst[i] = -1
		case ids != nil:
			dst[i] = ids[order[i]]
		default:
			dst[i] = order[i]
		}
	}
	slices.Sort(dst[:len(order)])
}
