package lower

import "smelt/codegen/kernel"

// chunkRotation rotates vectors that lie in chunks of four elements.
type chunkRotation struct {
	u     *unit
	table string       // of the step block
	at    *kernel.Expr // the row's first element of the table
	first int          // element of the vector that is rotated; even
	back  bool         // by minus the angle
}

// apply rotates chunk c, held by v, in which some element is to be rotated. If
// those begin in the middle of a chunk, its first pair stays.
func (r chunkRotation) apply(c *kernel.Expr, v kernel.Variable) {
	u := r.u
	place := u.Let("rotated", c.Mul(i32(4)).Sub(i32(r.first)))
	var out []*kernel.Expr
	for pair := range 2 {
		cos, sin := r.angle(place.Add(i32(2*pair)), r.first%4 != 0 && pair == 0)
		x, y := v.Lane(2*pair), v.Lane(2*pair+1)
		out = append(out, x.Mul(cos).Sub(y.Mul(sin)), x.Mul(sin).Add(y.Mul(cos)))
	}
	v.Set(kernel.Vector(out...))
}

// angle reads cosine and sine of the pair that begins at element i of those
// rotated; mayStay says that i may be negative, and the pair stays then.
func (r chunkRotation) angle(i *kernel.Expr, mayStay bool) (cos, sin *kernel.Expr) {
	at := i
	if mayStay {
		at = i.Max(i32(0))
	}
	cos, sin = r.u.StepAt(r.table, r.at.Add(at)), r.u.StepAt(r.table, r.at.Add(at).Add(i32(1)))
	if r.back {
		sin = sin.Neg()
	}
	if mayStay {
		in := i.Ge(i32(0))
		cos, sin = in.Select(cos, f32(1)), in.Select(sin, f32(0))
	}
	return r.u.Let("cos", cos), r.u.Let("sin", sin)
}
