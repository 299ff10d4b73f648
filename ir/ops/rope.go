package ops

import (
	"fmt"
	"math"

	"smelt.example/smelt/internal/ir/num"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
)

// RopeAttr describes a rotary position embedding. Factor 0 means no YaRN; the
// other YaRN fields are then 0 too.
type RopeAttr struct {
	Dims     int     // the last Dims elements are rotated, as pairs (2i, 2i+1)
	Theta    float64 // base
	Factor   float64 // YaRN: the context's extension
	Original int     // YaRN: positions the model was first trained on
	BetaFast float64 // YaRN: rotations over Original above which a pair keeps its frequency
	BetaSlow float64 // YaRN: rotations below which its frequency is divided by Factor
	Inverse  bool    // rotate by minus the angle
}

// Frequencies returns the angular frequency of each of the Dims/2 pairs:
// theta^(-2i/dims), with YaRN's ramp if Factor is set (docs/model.md#rope).
func (a RopeAttr) Frequencies() []float64 {
	d := float64(a.Dims)
	f := make([]float64, a.Dims/2)
	for i := range f {
		f[i] = num.Pow(a.Theta, -float64(2*i)/d)
	}
	if a.Factor == 0 {
		return f
	}
	pairTurning := func(rotations float64) float64 { // the pair that turns that often over Original positions
		return d * num.Log(float64(a.Original)/(rotations*2*math.Pi)) / (2 * num.Log(a.Theta))
	}
	lo := math.Max(math.Floor(pairTurning(a.BetaFast)), 0)
	hi := math.Min(math.Ceil(pairTurning(a.BetaSlow)), d-1)
	if lo == hi {
		hi += 0.001
	}
	for i := range f {
		ramp := math.Min(math.Max((float64(i)-lo)/(hi-lo), 0), 1)
		f[i] = float64(f[i]*(1-ramp)) + float64(f[i]/a.Factor*ramp)
	}
	return f
}

// Rope rotates the last dimensions of x [R, ..., d] by the positions [R].
// Angles, sines and cosines are computed in float64. A result is the sum of
// two products; its ULP count at the size of their absolute sum.
var Rope = &ir.Op{
	Name: "rope", Doc: "rotary position embedding on the last dims elements",
	Arity: ir.Arity{Min: 2, Max: 2}, Attr: RopeAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Elementwise, ULP: 4},
	Types:   ropeRule,
	Execute: ir.Both(rope[float32], rope[float64]),
}

func ropeRule(s *ir.Signature) (ir.Type, error) {
	if err := operands(s, ir.F32, ir.I32); err != nil {
		return ir.Type{}, err
	}
	x, pos := s.Args[0], s.Args[1]
	if x.Rank() < 2 || pos.Rank() != 1 || !pos.Shape[0].Equal(x.Shape[0]) {
		return x, fmt.Errorf("takes x [rows, ..., d] and positions [rows]")
	}
	return x, s.Attr.(RopeAttr).check(x.Shape[x.Rank()-1])
}

func (a RopeAttr) check(last ir.Expr) error {
	d, ok := last.Value()
	switch {
	case !ok || a.Dims < 2 || a.Dims%2 != 0 || int64(a.Dims) > d:
		return fmt.Errorf("dims %d must be even and at most the last dimension, %s", a.Dims, last)
	case !(a.Theta > 1) || math.IsInf(a.Theta, 0):
		return fmt.Errorf("theta %v must be above 1", a.Theta)
	case a.Factor != 0 && (!(a.Factor > 0) || a.Original < 1 || !(a.BetaFast > 0) || !(a.BetaSlow > 0)):
		return fmt.Errorf("YaRN needs factor, original, betaFast and betaSlow above 0")
	}
	return nil
}

func rope[F tensor.Float](c *ir.Call[F]) error {
	a := c.Node.Attr.(RopeAttr)
	pos, err := c.Args[1].Ints()
	if err != nil {
		return err
	}
	x, freqs := c.Args[0].Dense(), a.Frequencies()
	out := newReal(c)
	copy(out, x)
	d := c.Shape[len(c.Shape)-1]
	c.Parallel(len(pos), func(lo, hi int) {
		cos, sin := make([]F, len(freqs)), make([]F, len(freqs))
		per := tensor.Len(c.Shape[1:])
		for r := lo; r < hi; r++ {
			for i, f := range freqs {
				s, k := num.SinCos(float64(pos[r]) * f)
				if a.Inverse {
					s = -s
				}
				sin[i], cos[i] = F(s), F(k)
			}
			for at := r*per + d - a.Dims; at < (r+1)*per; at += d {
				rotate(out[at:at+a.Dims], cos, sin)
			}
		}
	})
	return nil
}

func rotate[F tensor.Float](v, cos, sin []F) {
	for i := range cos {
		x, y := v[2*i], v[2*i+1]
		v[2*i] = F(x*cos[i]) - F(y*sin[i])
		v[2*i+1] = F(x*sin[i]) + F(y*cos[i])
	}
}
