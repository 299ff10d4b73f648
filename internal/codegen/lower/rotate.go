package lower

import "smelt.example/smelt/internal/codegen/kernel"

// chunkRotation rotates vectors that lie in chunks of four elements.
type chunkRotation struct {
	u     *emitter
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
	for pair, t := range r.turns(place) {
		x, y := v.Lane(2*pair), v.Lane(2*pair+1)
		out = append(out, x.Mul(t.cos).Sub(y.Mul(t.sin)), x.Mul(t.sin).Add(y.Mul(t.cos)))
	}
	v.Set(kernel.Vector(out...))
}

// pairTurn holds the rotation of a pair.
type pairTurn struct{ cos, sin *kernel.Expr }

// turns reads those of the two pairs that begin at element i of those rotated.
// A chunk that is rotated whole reads them as what they are: four neighbours.
func (r chunkRotation) turns(i *kernel.Expr) [2]pairTurn {
	if r.first%4 != 0 {
		return [2]pairTurn{r.turn(i, true), r.turn(i.Add(i32(2)), false)}
	}
	at := r.at.Add(i)
	var four []*kernel.Expr
	for n := range 4 {
		four = append(four, r.u.StepAt(r.table, at.Add(i32(n))))
	}
	x := lanesOf(r.u.Let("turns", kernel.Vector(four...)))
	if r.back {
		x[1], x[3] = x[1].Neg(), x[3].Neg()
	}
	return [2]pairTurn{{x[0], x[1]}, {x[2], x[3]}}
}

// turn reads one; mayStay says that i may be negative, and the pair stays then.
func (r chunkRotation) turn(i *kernel.Expr, mayStay bool) pairTurn {
	at := i
	if mayStay {
		at = i.Max(i32(0))
	}
	cos, sin := r.u.StepAt(r.table, r.at.Add(at)), r.u.StepAt(r.table, r.at.Add(at).Add(i32(1)))
	if r.back {
		sin = sin.Neg()
	}
	if mayStay {
		in := i.Ge(i32(0))
		cos, sin = in.Select(cos, f32(1)), in.Select(sin, f32(0))
	}
	return pairTurn{r.u.Let("cos", cos), r.u.Let("sin", sin)}
}
