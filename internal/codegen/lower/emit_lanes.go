package lower

import "smelt.example/smelt/internal/codegen/kernel"

// splat is a vector of four equal elements.
func splat(x *kernel.Expr) *kernel.Expr { return kernel.Vector(x, x, x, x) }

// lanesOf takes a vector of four apart.
func lanesOf(v *kernel.Expr) (x [4]*kernel.Expr) {
	for i := range x {
		if v.Op == kernel.OpVec {
			x[i] = v.Args[i]
		} else {
			x[i] = v.Lane(i)
		}
	}
	return x
}
