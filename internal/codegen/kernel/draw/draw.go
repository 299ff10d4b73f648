// Package draw makes random kernels, for tests of what reads, prints and runs them.
// They use the whole language but fragments, and compute nothing useful.
package draw

import (
	"fmt"
	"math"
	"math/rand/v2"

	"smelt.example/smelt/internal/codegen/kernel"
)

// programs draws random kernels.
type programs struct {
	*kernel.Builder
	r      *rand.Rand
	f      kernel.Buffer // 64 f32
	f4     kernel.Buffer // 64 f32x4
	i      kernel.Buffer // 64 i32 from 0 to 63
	b      kernel.Buffer // 64 u8
	shared kernel.Array
	vars   []kernel.Variable // f32
	quads  []kernel.Variable // f32x4
	ints   []*kernel.Expr    // i32, not negative
	floats []*kernel.Expr
	depth  int
	whole  bool // all lanes are at work
	stores int
	out    kernel.Buffer
	out4   kernel.Buffer // f32x4
	out16  kernel.Buffer // u16
	lanes  int
}

// Program draws a kernel of one SIMD group of so many lanes. The error is Verify's:
// now and then an index or a barrier stands where it may not.
func Program(r *rand.Rand, lanes int) (*kernel.Kernel, error) {
	step := &kernel.StepLayout{Fields: []kernel.StepField{{Name: "T", Elem: kernel.I32}, {Name: "slot", Elem: kernel.I32, Len: 16}}}
	p := &programs{Builder: kernel.New("drawn", step, kernel.Schedule{Threads: lanes, SimdWidth: lanes}), r: r, whole: true, lanes: lanes}
	p.f, p.i = p.Pointer("f", kernel.Of(kernel.F32), kernel.Read), p.Pointer("i", kernel.Of(kernel.I32), kernel.Read)
	p.f4, p.b = p.Pointer("f4", kernel.Vec(kernel.F32, 4), kernel.Read), p.Pointer("b", kernel.Of(kernel.U8), kernel.Read)
	p.out, p.out4 = p.Pointer("out", kernel.Of(kernel.F32), kernel.Write), p.Pointer("out4", kernel.Vec(kernel.F32, 4), kernel.Write)
	p.out16 = p.Pointer("out16", kernel.Of(kernel.U16), kernel.Write)
	p.shared = p.SharedArray("shared", kernel.F32, 4*lanes)
	_, n := p.Scalar("n", kernel.I32)
	p.ints = []*kernel.Expr{kernel.Lane(), kernel.Group(0), kernel.Group(1), n, p.StepValue("T"), kernel.I(r.IntN(40)), kernel.I(1 << r.IntN(6))}
	p.floats = []*kernel.Expr{kernel.F(r.NormFloat64()), p.f.At(kernel.Lane())}
	for v := range 3 {
		p.vars = append(p.vars, p.Var(fmt.Sprintf("v%d", v), p.float(1)))
	}
	for v := range 2 {
		p.quads = append(p.quads, p.Var(fmt.Sprintf("q%d", v), p.quad(1)))
	}
	p.block(6)
	for _, v := range p.vars {
		p.store(v.Expr)
	}
	return p.Kernel()
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// int is an i32 that is not negative and not large.
func (p *programs) int(depth int) *kernel.Expr {
	if depth == 0 || p.r.IntN(4) == 0 {
		return pick(p.r, p.ints)
	}
	a := p.int(depth - 1)
	switch p.r.IntN(9) {
	case 0:
		return a.Add(p.int(depth - 1)).Rem(kernel.I(64))
	case 1:
		return a.Mul(kernel.I(p.r.IntN(9))).Rem(kernel.I(128))
	case 2:
		return a.Div(kernel.I(1 << p.r.IntN(5)))
	case 3:
		return a.Rem(kernel.I(1 + p.r.IntN(40)))
	case 4:
		return p.i.At(a.And(kernel.I(63)))
	case 5:
		return a.Max(p.int(depth - 1))
	case 6:
		return p.cond(depth-1).Select(a, p.int(depth-1))
	case 7:
		return p.b.At(a.And(kernel.I(63))).To(kernel.I32)
	}
	if p.whole {
		return a.Shuffle(p.int(depth - 1).Rem(kernel.I(p.lanes)))
	}
	return a.Div(p.int(depth - 1).Add(kernel.I(1)))
}

func (p *programs) cond(depth int) *kernel.Expr {
	if p.r.IntN(2) == 0 {
		a, b := p.int(depth), p.int(depth)
		return pick(p.r, []*kernel.Expr{a.Lt(b), a.Ge(b), a.Eq(b), a.Rem(kernel.I(2)).Eq(kernel.I(0)), a.Le(b).Not()})
	}
	return p.float(depth).Lt(p.float(depth))
}

func (p *programs) float(depth int) *kernel.Expr {
	if depth == 0 || p.r.IntN(5) == 0 {
		return pick(p.r, p.floats)
	}
	a := p.float(depth - 1)
	switch p.r.IntN(16) {
	case 0:
		return a.Add(p.float(depth - 1))
	case 1:
		return a.Mul(p.float(depth - 1))
	case 2:
		return a.Fma(p.float(depth-1), p.float(depth-1))
	case 3:
		return p.f.At(p.int(depth - 1).And(kernel.I(63)))
	case 4:
		return p.f4.At(p.int(depth - 1).And(kernel.I(63))).Lane(p.r.IntN(4))
	case 5:
		return p.cond(depth-1).Select(a, p.float(depth-1))
	case 6:
		return p.int(depth - 1).To(kernel.F32)
	case 7:
		v := p.f4.At(p.int(depth - 1).And(kernel.I(63)))
		return v.Mul(kernel.Vector(a, a, a, a)).Add(kernel.Vector(a, p.float(0), a, p.float(0))).Lane(p.r.IntN(4))
	case 8:
		return a.Max(p.float(depth - 1)).Min(kernel.F(100))
	case 9:
		return numbersOf(a).As(kernel.U32).And(kernel.U(0xffff0000)).As(kernel.F32)
	case 10:
		at := p.int(depth - 1).And(kernel.I(15)).Mul(kernel.I(4))
		return kernel.Vector(p.f.At(at), p.f.At(at.Add(kernel.I(1))), p.f.At(at.Add(kernel.I(2))), p.f.At(at.Add(kernel.I(3)))).Lane(p.r.IntN(4))
	case 11:
		if p.whole {
			return pick(p.r, []*kernel.Expr{a.SimdMax(), a.SimdMin(), a.ShuffleXor(1 << p.r.IntN(2)), p.int(1).SimdPrefix().To(kernel.F32), p.int(1).SimdSum().To(kernel.F32)})
		}
		return a.Neg()
	case 12:
		return a.Rint().Sub(a.Floor())
	case 13: // without the highest exponent's last bit, which no number has
		return numbersOf(a).As(kernel.U32).And(kernel.U(0xfbfffbff)).Halves().Lane(p.r.IntN(2))
	case 14:
		return numbersOf(a).As(kernel.U32).E2M1()
	}
	return a.Abs()
}

// numbersOf is x where its bits are the same everywhere: processors and programs
// differ in the bits of NaNs, and in which of 0 and -0 is the larger.
func numbersOf(x *kernel.Expr) *kernel.Expr {
	size := x.Abs()
	return kernel.F(0).Lt(size).And(size.Le(kernel.F(math.MaxFloat32))).Select(x, kernel.F(1))
}

// quad is a vector: from memory, of elements, or computed from others.
func (p *programs) quad(depth int) *kernel.Expr {
	if depth == 0 || p.r.IntN(5) == 0 {
		if len(p.quads) > 0 && p.r.IntN(3) > 0 {
			return pick(p.r, p.quads).Expr
		}
		return p.f4.At(kernel.Lane().Add(kernel.I(p.r.IntN(3) * 16)))
	}
	a := p.quad(depth - 1)
	switch p.r.IntN(8) {
	case 0:
		return a.Add(p.quad(depth - 1))
	case 1:
		x := p.float(1)
		return a.Fma(kernel.Vector(x, x, x, x), p.quad(depth-1))
	case 2:
		return kernel.Vector(a.Lane(1), a.Lane(0).Neg(), p.float(1), a.Lane(2))
	case 3:
		return p.cond(1).Select(a, p.quad(depth-1))
	case 4:
		if p.whole {
			return pick(p.r, []*kernel.Expr{a.SimdMax(), a.ShuffleXor(1 << p.r.IntN(2)), a.Shuffle(kernel.I(p.r.IntN(p.lanes)))})
		}
		return a.Abs()
	case 5:
		var x []*kernel.Expr
		for n := range 4 {
			x = append(x, numbersOf(a.Lane(n)))
		}
		return kernel.Vector(x...).As(kernel.U32).Shr(kernel.Vector(kernel.U(1), kernel.U(1), kernel.U(1), kernel.U(1))).As(kernel.F32)
	case 6:
		at := kernel.Lane().Rem(kernel.I(16)).Mul(kernel.I(4))
		return kernel.Vector(p.f.At(at), p.f.At(at.Add(kernel.I(1))), p.f.At(at.Add(kernel.I(2))), p.f.At(at.Add(kernel.I(3)))).Mul(a)
	}
	return a.Max(p.quad(depth - 1))
}

// quadStatement draws a statement on vectors.
func (p *programs) quadStatement() {
	switch p.r.IntN(4) {
	case 0:
		p.quads = append(p.quads, p.Var("q", p.quad(2)))
	case 1:
		p.floats = append(p.floats, p.Let("e", p.quad(3).Lane(p.r.IntN(4))))
	case 2:
		if p.whole && p.depth == 0 { // neighbours, one after the other
			p.Barrier()
			v := p.Let("v", p.quad(2))
			for n := range 4 {
				p.shared.Set(kernel.Lane().Mul(kernel.I(4)).Add(kernel.I(n)), v.Lane(n))
			}
			p.Barrier()
			p.floats = append(p.floats, p.Let("s", p.shared.At(p.int(2).Rem(kernel.I(4*p.lanes)))))
		}
	default:
		pick(p.r, p.quads).Set(p.quad(3))
	}
}

// store writes an element for each lane, at a place no other statement writes:
// side by side, or in another order, known or not.
func (p *programs) store(v *kernel.Expr) {
	if p.stores == 12 {
		return
	}
	lane := pick(p.r, []*kernel.Expr{kernel.Lane(), kernel.Lane().Xor(kernel.I(3)), kernel.Lane().Add(p.StepValue("T")).And(kernel.I(p.lanes - 1))})
	at := kernel.Group(1).Mul(kernel.I(3)).Add(kernel.Group(0)).Mul(kernel.I(12 * p.lanes)).Add(kernel.I(p.stores * p.lanes)).Add(lane)
	p.stores++
	switch p.r.IntN(5) {
	case 4:
		p.out4.Set(at, p.quad(2))
	case 0:
		p.out4.Set(at, kernel.Vector(v, p.float(1), kernel.F(1), v))
	case 1:
		p.out16.Set(at, p.int(2).To(kernel.U16))
	default:
		p.out.Set(at, v)
	}
}

// scoped runs a block whose names are forgotten after it.
func (p *programs) scoped(n int, diverges bool) {
	ints, floats, vars, quads, whole := p.ints, p.floats, p.vars, p.quads, p.whole
	p.whole = p.whole && !diverges
	p.depth++
	p.block(n)
	p.depth--
	p.ints, p.floats, p.vars, p.quads, p.whole = ints, floats, vars, quads, whole
}

func (p *programs) block(n int) {
	for range n {
		switch p.r.IntN(11) {
		case 9, 10:
			p.quadStatement()
		case 0:
			p.floats = append(p.floats, p.Let("x", p.float(3)))
		case 1:
			p.ints = append(p.ints, p.Let("n", p.int(3)))
		case 2, 3:
			v := pick(p.r, p.vars)
			v.Set(p.float(3))
			p.floats = append(p.floats, v.Expr)
		case 4:
			if p.depth < 3 {
				p.If(p.cond(2), func() { p.scoped(3, true) }, func() { p.scoped(2, true) })
			}
		case 5:
			if p.depth < 2 {
				p.loop()
			}
		case 6:
			if p.whole && p.depth == 0 {
				p.Barrier()
				p.shared.Set(kernel.Lane().Mul(kernel.I(4)), p.float(2))
				p.Barrier()
				p.floats = append(p.floats, p.Let("s", p.shared.At(p.int(2).Rem(kernel.I(p.lanes)).Mul(kernel.I(4)))))
			}
		case 7:
			p.vars = append(p.vars, p.Var("w", p.float(2)))
		case 8:
			p.store(p.float(2))
		}
	}
}

func (p *programs) loop() {
	body := func(i *kernel.Expr) {
		p.ints = append(p.ints, i)
		p.scoped(3, true)
		p.ints = p.ints[:len(p.ints)-1]
	}
	switch p.r.IntN(4) {
	case 3:
		p.Unroll("i", 1+p.r.IntN(4), body)
	case 0:
		p.For("i", kernel.I(p.r.IntN(3)), kernel.I(p.r.IntN(9)), kernel.I(1+p.r.IntN(2)), body)
	case 1:
		p.For("i", kernel.Lane(), p.int(1).Rem(kernel.I(40)), kernel.I(p.lanes), body)
	case 2:
		p.For("i", p.int(1).Rem(kernel.I(8)), p.int(1).Rem(kernel.I(16)), kernel.I(1+p.r.IntN(3)), body)
	}
}

// LoopsTwice has each loop, and then its text again: both become calls of one
// function.
func LoopsTwice(body []kernel.Stmt) []kernel.Stmt {
	var out []kernel.Stmt
	for _, s := range body {
		switch s := s.(type) {
		case *kernel.If:
			s.Then, s.Else = LoopsTwice(s.Then), LoopsTwice(s.Else)
		case *kernel.For:
			s.Body = LoopsTwice(s.Body)
			own := map[string]bool{}
			kernel.Declared([]kernel.Stmt{s}, func(name string) { own[name] = true })
			out = append(out, kernel.Renamed([]kernel.Stmt{s}, func(kind kernel.NameKind, name string) string {
				if kind == kernel.LocalName && own[name] {
					name += "_again"
				}
				return name
			})...)
		}
		out = append(out, s)
	}
	return out
}
