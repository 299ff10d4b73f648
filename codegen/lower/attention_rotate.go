package lower

import "smelt/codegen/kernel"

// chunkRotation rotates vectors that lie in chunks of four elements.
type chunkRotation struct {
	u     *unit
	table string       // of the step block
	at    *kernel.Expr // the row's first element of the table
	first int          // element of the vector that is rotated
	back  bool         // by minus the angle
}

// rotation is the rope of a row's vectors, or its inverse.
func (a *attention) rotation(u *unit, row *kernel.Expr, back bool) chunkRotation {
	return chunkRotation{
		u: u, table: u.rotation(a.Rope, 0), at: u.Let("rope_at", row.Mul(i32(a.Rope.Dims))),
		first: a.Dim - a.Rope.Dims, back: back,
	}
}

// reaches reports whether element i or one before it is rotated.
func (r chunkRotation) reaches(i int) bool { return i >= r.first }

// apply rotates chunk c, held by v, if it is among those rotated.
func (r chunkRotation) apply(c *kernel.Expr, v kernel.Variable) {
	u := r.u
	element := c.Mul(i32(4))
	// Of a chunk that rotated elements begin in the middle of, the first pair stays.
	straddles := r.first%4 != 0
	begin := r.first / 4 * 4
	u.If(element.Ge(i32(begin)), func() {
		place := u.Let("rotated", element.Sub(i32(r.first)))
		var out []*kernel.Expr
		for pair := range 2 {
			at := place.Add(i32(2 * pair))
			skip := straddles && pair == 0
			if skip {
				at = at.Max(i32(0))
			}
			cos := u.StepAt(r.table, r.at.Add(at))
			sin := u.StepAt(r.table, r.at.Add(at).Add(i32(1)))
			if r.back {
				sin = sin.Neg()
			}
			if skip {
				in := place.Ge(i32(0))
				cos, sin = in.Select(cos, f32(1)), in.Select(sin, f32(0))
			}
			cos, sin = u.Let("cos", cos), u.Let("sin", sin)
			x, y := v.Lane(2*pair), v.Lane(2*pair+1)
			out = append(out, x.Mul(cos).Sub(y.Mul(sin)), x.Mul(sin).Add(y.Mul(cos)))
		}
		v.Set(kernel.Vector(out...))
	}, nil)
}
