package lower

import "smelt.example/smelt/internal/codegen/kernel"

// swiglu is silu(min(gate, limit)) * clamp(up, -limit, limit); limit 0: no clamps.
func swiglu(gate, up *kernel.Expr, limit float64) *kernel.Expr {
	if limit > 0 {
		gate = gate.Min(f32(limit))
		up = up.Min(f32(limit)).Max(f32(-limit))
	}
	return gate.Div(f32(1).Add(gate.Neg().Exp())).Mul(up)
}
