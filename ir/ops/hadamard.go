package ops

import (
	"fmt"
	"math"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
)

// Hadamard is the orthonormal Walsh-Hadamard transform of the last axis, whose
// length n is a power of two: result i is the sum of (-1)^bits(i&k) * x[k] over
// k, times 1/sqrt(n), where bits counts the ones. It is its own inverse.
//
// The additions are butterflies with distance h = 1, 2, 4 .. n/2: elements i
// and i+h, where i has no bit h, become their sum and their difference. The
// product with 1/sqrt(n), rounded to the evaluation's precision, comes last.
var Hadamard = &ir.Op{
	Name: "hadamard", Doc: "orthonormal Walsh-Hadamard transform of the last axis",
	Arity: ir.Arity{Min: 1, Max: 1}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Reduction},
	Types:   hadamardRule,
	Execute: ir.Both(hadamard[float32], hadamard[float64]),
}

func hadamardRule(s *ir.Signature) (ir.Type, error) {
	x, err := sameAsFirst(s)
	if err != nil {
		return x, err
	}
	last := x.Shape[x.Rank()-1]
	if n, ok := last.Value(); !ok || n < 1 || n&(n-1) != 0 {
		return x, fmt.Errorf("the last dimension, %s, must be a power of two", last)
	}
	return x, nil
}

func hadamard[F tensor.Float](c *ir.Call[F]) error {
	x, n := c.Args[0].Dense(), c.Shape[len(c.Shape)-1]
	out, by := newReal(c), F(1/math.Sqrt(float64(n)))
	copy(out, x)
	c.Parallel(len(out)/n, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			butterflies(out[r*n : (r+1)*n])
		}
		for i := lo * n; i < hi*n; i++ {
			out[i] *= by
		}
	})
	return nil
}

func butterflies[F tensor.Float](v []F) {
	for h := 1; h < len(v); h *= 2 {
		for from := 0; from < len(v); from += 2 * h {
			for i := from; i < from+h; i++ {
				v[i], v[i+h] = v[i]+v[i+h], v[i]-v[i+h]
			}
		}
	}
}
