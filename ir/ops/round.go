package ops

import (
	"fmt"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/ir/num"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
)

// RoundAttr says what RoundTo rounds: Count elements of the last axis from
// index From on.
type RoundAttr struct {
	Format string // bf16, or e4m3 or e2m1 in blocks
	Block  int    // e4m3, e2m1: elements that share a scale; 0 with bf16
	From   int
	Count  int
}

// RoundTo rounds elements of the last axis to what a stored format holds, and
// leaves the others as they are. bf16 rounds each element to the nearest, ties
// to even. e4m3 and e2m1 rounds in blocks of Block elements, the last perhaps
// shorter, each with a power-of-two scale: the smallest that needs no saturation,
// 2^ceil(log2(amax/largest)). A block of zeros stays. What it gives, it leaves
// unchanged when applied again.
//
// A row's result depends on that row alone. Another implementation may assume
// that there is no NaN and no infinity.
var RoundTo = &ir.Op{
	Name: "round_to", Doc: "elements of the last axis as a stored format holds them",
	Arity: ir.Arity{Min: 1, Max: 1}, Attr: RoundAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Exact},
	Types:   roundToRule,
	Execute: ir.Both(roundTo[float32], roundTo[float64]),
}

func roundToRule(s *ir.Signature) (ir.Type, error) {
	x, err := sameAsFirst(s)
	if err != nil {
		return x, err
	}
	return x, s.Attr.(RoundAttr).check(x.Shape[x.Rank()-1])
}

func (a RoundAttr) check(last ir.Expr) error {
	if n, ok := last.Value(); !ok || a.From < 0 || a.Count < 1 || int64(a.From) > n || int64(a.Count) > n-int64(a.From) {
		return fmt.Errorf("[%d, %d+%d) is not a range of the last dimension, %s", a.From, a.From, a.Count, last)
	}
	if a.Format == "bf16" {
		if a.Block != 0 {
			return fmt.Errorf("bf16 has no blocks; block is %d", a.Block)
		}
		return nil
	}
	if _, err := encoding.BlockCodeNamed(a.Format); err != nil {
		return fmt.Errorf("format %q must be bf16, e4m3 or e2m1", a.Format)
	}
	if a.Block < 1 {
		return fmt.Errorf("%s needs a block of 1 or more, is %d", a.Format, a.Block)
	}
	return nil
}

func roundTo[F tensor.Float](c *ir.Call[F]) error {
	a, x, width := c.Node.Attr.(RoundAttr), c.Args[0].Dense(), c.Shape[len(c.Shape)-1]
	round := roundBF16[F]
	if a.Format != "bf16" {
		code, err := encoding.BlockCodeNamed(a.Format)
		if err != nil {
			return err
		}
		round = func(v []F) {
			for len(v) > 0 {
				n := min(a.Block, len(v))
				encoding.Round(code, v[:n])
				v = v[n:]
			}
		}
	}
	out := newReal(c)
	copy(out, x)
	c.Parallel(len(out)/width, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			round(out[r*width+a.From:][:a.Count])
		}
	})
	return nil
}

func roundBF16[F tensor.Float](v []F) {
	for i, x := range v {
		v[i] = F(num.BF16ToF32(num.F64ToBF16(float64(x))))
	}
}
