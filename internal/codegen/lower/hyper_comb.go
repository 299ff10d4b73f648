package lower

import (
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/ir"
)

// Comb takes twenty rounds of dividing 16 numbers by their sums, which wait for each other:
// some microseconds of one SIMD group. In decode on a GPU, where a step is as long as what
// waits in it, "comb" is a launch beside those that read the collapsed vector.

// combApart is set where comb is made by a launch of its own, from what "read" leaves it.
func (x *hyper) combApart() {
	if n := x.m.Streams; x.in.Target.Vector == 0 && x.in.Phase == program.Decode && !x.m.Next.Head {
		x.combElements = &program.Scratch{Name: "comb_elements", Bytes: ir.Sym(x.rows).Mul(ir.Const(int64(4 * n * n)))}
	}
}

// comb is the third launch, if there is one.
func (x *hyper) comb() error {
	if x.combElements == nil {
		return nil
	}
	u := x.in.begin(x.in.kernelName("comb"), kernel.Schedule{Threads: x.in.Target.SimdWidth}, x.in.doc("how streams mix, a SIMD group a row")...)
	c := &combMaker{emitter: u, hyper: x, row: u.Let("row", kernel.Group(0))}
	elements := u.scratch("elements", x.combElements, kernel.F32, kernel.Read)
	c.comb = u.activation("comb", x.m.Next.Comb, kernel.Write)
	n := x.m.Streams * x.m.Streams
	c.makeComb(u.Let("element", elements.At(c.row.Mul(i32(n)).Add(kernel.Lane().Min(i32(n-1))))))
	return x.add(u.launch("comb", ir.Sym(x.rows)))
}

// combMaker is a kernel that makes comb.
type combMaker struct {
	*emitter
	*hyper
	row  *kernel.Expr
	comb kernel.Buffer
}

// makeComb makes comb of its elements, a lane each: lane i*n+j has element (i, j).
func (c *combMaker) makeComb(element *kernel.Expr) { c.setComb(c.comb, c.sinkhorn(element)) }

// setComb stores the row's numbers of comb, a lane each.
func (c *combMaker) setComb(to kernel.Buffer, v *kernel.Expr) {
	n := c.m.Streams * c.m.Streams
	c.If(kernel.Lane().Lt(i32(n)), func() { to.Set(c.row.Mul(i32(n)).Add(kernel.Lane()), v) }, nil)
}

// sinkhorn normalises rows and columns in turn (docs/model.md#residual-streams). Lanes
// beyond n*n compute what nobody reads.
func (c *combMaker) sinkhorn(v *kernel.Expr) *kernel.Expr {
	n, eps := c.m.Streams, f32(c.m.Next.HCEps)
	over := func(x *kernel.Expr, from, to int, f func(a, b *kernel.Expr) *kernel.Expr) *kernel.Expr {
		if !c.stages() && to == 4*from { // the three others at once, added up as below
			one, two, three := c.Let("other", x.ShuffleXor(from)), c.Let("other", x.ShuffleXor(2*from)), c.Let("other", x.ShuffleXor(3*from))
			return c.Let("fold", f(f(x, one), f(two, three)))
		}
		for mask := from; mask < to; mask *= 2 {
			x = c.Let("fold", f(x, x.ShuffleXor(mask)))
		}
		return x
	}
	add := func(a, b *kernel.Expr) *kernel.Expr { return a.Add(b) }
	most := over(v, 1, n, func(a, b *kernel.Expr) *kernel.Expr { return a.Max(b) })
	m := c.Var("c", v.Sub(most).Exp())
	m.Set(m.Div(over(m.Expr, 1, n, add)).Add(eps))
	m.Set(m.Div(over(m.Expr, n, n*n, add).Add(eps)))
	c.For("iteration", i32(1), i32(c.m.Next.Iters), i32(1), func(*kernel.Expr) {
		m.Set(m.Div(over(m.Expr, 1, n, add).Add(eps)))
		m.Set(m.Div(over(m.Expr, n, n*n, add).Add(eps)))
	})
	return m.Expr
}
