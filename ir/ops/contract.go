package ops

import (
	"fmt"
	"slices"
	"strings"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
)

// Contractions: products that are summed over a dimension.
var (
	// Matmul is x [..., K] times the transpose of w [N, K]: weights lie as
	// [out, in], as checkpoints store them.
	Matmul = &ir.Op{
		Name: "matmul", Doc: "x times the transpose of w, w as [out, in]",
		Arity: ir.Arity{Min: 2, Max: 2}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Reduction},
		Types:   matmulRule,
		Execute: ir.Both(matmul[float32], matmul[float64]),
	}

	// ExpertMatmul multiplies each row by the matrices of its experts: x [T, K] or
	// [T, E, K], ids [T, E], w [experts, N, K]; the result is [T, E, N].
	ExpertMatmul = &ir.Op{
		Name: "expert_matmul", Doc: "per row and chosen expert, x times the transpose of that expert's matrix",
		Arity: ir.Arity{Min: 3, Max: 3}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Reduction},
		Types:   expertMatmulRule,
		Execute: ir.Both(expertMatmul[float32], expertMatmul[float64]),
		Indexes: []ir.Index{{Operand: 1, Into: 2, Axis: 0}},
	}

	// Einsum contracts two tensors. Every letter stands once in a term; letters of
	// the result come from the operands; a letter the result lacks is in both.
	// The sum runs over the contracted letters in the first operand's order.
	Einsum = &ir.Op{
		Name: "einsum", Doc: "contraction of two tensors by named dimensions",
		Arity: ir.Arity{Min: 2, Max: 2}, Attr: EinsumAttr{}, Effect: ir.Pure, Class: ir.Class{Kind: ir.Reduction},
		Types:   einsumRule,
		Execute: ir.Both(einsum[float32], einsum[float64]),
	}
)

func matmulRule(s *ir.Signature) (ir.Type, error) {
	if err := operands(s, ir.F32, ir.F32); err != nil {
		return ir.Type{}, err
	}
	x, w := s.Args[0], s.Args[1]
	if x.Rank() < 2 || w.Rank() != 2 || !x.Shape[x.Rank()-1].Equal(w.Shape[1]) {
		return x, fmt.Errorf("takes x [..., k] and w [n, k]")
	}
	return ir.Tensor(ir.F32, replaced(x.Shape, x.Rank()-1, w.Shape[0])...), nil
}

func matmul[F tensor.Float](c *ir.Call[F]) error {
	x, n, k := c.Args[0].Dense(), c.Args[1].Shape[0], c.Args[1].Shape[1]
	out := newReal(c)
	w := rowsOf(c.Args[1], k)
	m := tensor.Len(c.Shape[:len(c.Shape)-1])
	c.Parallel(n, func(lo, hi int) {
		buf := make([]F, k)
		for j := lo; j < hi; j++ {
			row := w(buf, j)
			for i := range m {
				out[i*n+j] = dot(x[i*k:(i+1)*k], row)
			}
		}
	})
	return nil
}

// rowsOf returns a function that gives row r of a matrix of width k, decoded
// into the buffer if it is a parameter.
func rowsOf[F tensor.Float](v tensor.Value[F], k int) func(buf []F, r int) []F {
	if v.Rows == nil {
		return func(_ []F, r int) []F { return v.F[r*k : (r+1)*k] }
	}
	return func(buf []F, r int) []F {
		tensor.DecodeRow(v.Rows, buf, r)
		return buf
	}
}

func expertMatmulRule(s *ir.Signature) (ir.Type, error) {
	if err := operands(s, ir.F32, ir.I32, ir.F32); err != nil {
		return ir.Type{}, err
	}
	x, ids, w := s.Args[0], s.Args[1], s.Args[2]
	if ids.Rank() != 2 || w.Rank() != 3 || x.Rank() < 2 || x.Rank() > 3 ||
		!slices.EqualFunc(x.Shape[:x.Rank()-1], ids.Shape[:x.Rank()-1], ir.Expr.Equal) || !x.Shape[x.Rank()-1].Equal(w.Shape[2]) {
		return x, fmt.Errorf("takes x [rows, k] or [rows, e, k], ids [rows, e] and w [experts, n, k]")
	}
	return ir.Tensor(ir.F32, ids.Shape[0], ids.Shape[1], w.Shape[1]), nil
}

func expertMatmul[F tensor.Float](c *ir.Call[F]) error {
	ids, err := c.Args[1].Ints()
	if err != nil {
		return err
	}
	x, w := c.Args[0].Dense(), c.Args[2]
	experts, n, k := w.Shape[0], w.Shape[1], w.Shape[2]
	repeat := 1 // ids per row of x
	if len(c.Args[0].Shape) == 2 {
		repeat = c.Shape[1]
	}
	users := make([][]int, experts)
	for i, e := range ids {
		if e < 0 || int(e) >= experts {
			return fmt.Errorf("expert %d is outside %d", e, experts)
		}
		users[e] = append(users[e], i)
	}
	var used []int
	for e := range users {
		if len(users[e]) > 0 {
			used = append(used, e)
		}
	}
	out := newReal(c)
	row := rowsOf(w, k)
	c.Parallel(len(used)*n, func(lo, hi int) {
		buf := make([]F, k)
		for r := lo; r < hi; r++ {
			e, j := used[r/n], r%n
			wr := row(buf, e*n+j)
			for _, i := range users[e] {
				at := i / repeat * k
				out[i*n+j] = dot(x[at:at+k], wr)
			}
		}
	})
	return nil
}

// EinsumAttr names the dimensions of both operands and of the result by one
// letter each: "tgi,goi->tgo". A letter that the result lacks is summed over.
type EinsumAttr struct{ Spec string }

// einsumTerms splits a spec into its letters and sorts them by role.
type einsumTerms struct {
	a, b, out                  string
	batch, left, right, summed string
}

func parseEinsum(spec string) (t einsumTerms, err error) {
	ins, out, ok := strings.Cut(spec, "->")
	a, b, ok2 := strings.Cut(ins, ",")
	if !ok || !ok2 {
		return t, fmt.Errorf("spec %q must look like \"tk,tkd->td\"", spec)
	}
	t = einsumTerms{a: a, b: b, out: out}
	for _, term := range []string{a, b, out} {
		for i, r := range term {
			if r < 'a' || r > 'z' || strings.ContainsRune(term[:i], r) {
				return t, fmt.Errorf("spec %q: %q must be different small letters", spec, term)
			}
		}
	}
	for _, r := range a {
		inB, inOut := strings.ContainsRune(b, r), strings.ContainsRune(out, r)
		switch {
		case inB && inOut:
			t.batch += string(r)
		case inB:
			t.summed += string(r)
		case inOut:
			t.left += string(r)
		default:
			return t, fmt.Errorf("spec %q: %c stands in one operand only", spec, r)
		}
	}
	for _, r := range b {
		if !strings.ContainsRune(a, r) {
			if !strings.ContainsRune(out, r) {
				return t, fmt.Errorf("spec %q: %c stands in one operand only", spec, r)
			}
			t.right += string(r)
		}
	}
	if len(t.batch)+len(t.left)+len(t.right) != len(out) || len(out) == 0 {
		return t, fmt.Errorf("spec %q: the result names a dimension no operand has, or none", spec)
	}
	return t, nil
}

func einsumRule(s *ir.Signature) (ir.Type, error) {
	if err := operands(s, ir.F32, ir.F32); err != nil {
		return ir.Type{}, err
	}
	a, b := s.Args[0], s.Args[1]
	spec := s.Attr.(EinsumAttr).Spec
	t, err := parseEinsum(spec)
	if err != nil {
		return a, err
	}
	if len(t.a) != a.Rank() || len(t.b) != b.Rank() {
		return a, fmt.Errorf("spec %q does not fit ranks %d and %d", spec, a.Rank(), b.Rank())
	}
	size := map[byte]ir.Expr{}
	for i := range t.a {
		size[t.a[i]] = a.Shape[i]
	}
	for i := range t.b {
		if d, seen := size[t.b[i]]; seen && !d.Equal(b.Shape[i]) {
			return a, fmt.Errorf("spec %q: %c is %s and %s", spec, t.b[i], d, b.Shape[i])
		}
		size[t.b[i]] = b.Shape[i]
	}
	shape := make([]ir.Expr, len(t.out))
	for i := range t.out {
		shape[i] = size[t.out[i]]
	}
	return ir.Tensor(ir.F32, shape...), nil
}

func einsum[F tensor.Float](c *ir.Call[F]) error {
	t, err := parseEinsum(c.Node.Attr.(EinsumAttr).Spec)
	if err != nil {
		return err
	}
	av, bv := c.Args[0], c.Args[1]
	out := newReal(c)
	aOff := offsets(t.a, av.Shape, t.batch, t.left)
	bOff := offsets(t.b, bv.Shape, t.batch, t.right)
	aSum, bSum := newLine(offsets(t.a, av.Shape, "", t.summed)[0]), newLine(offsets(t.b, bv.Shape, "", t.summed)[0])
	oOff := offsets(t.out, c.Shape, t.batch, t.left)
	rOff := offsets(t.out, c.Shape, "", t.right)[0]
	a, bRow := av.Dense(), linesOf(bv, bSum)
	rights := len(rOff)
	c.Parallel(len(bOff)*rights, func(lo, hi int) {
		bufA, bufB := make([]F, len(aSum.offs)), make([]F, len(bSum.offs))
		for i := lo; i < hi; i++ {
			g, r := i/rights, i%rights
			row := bRow(bufB, bOff[g][r])
			for l, at := range aOff[g] {
				out[oOff[g][l]+rOff[r]] = dot(of(aSum, bufA, a, at), row)
			}
		}
	})
	return nil
}

// offsets lists where the elements of a tensor lie: for each combination of
// the outer letters (first index) and of the inner letters (second index).
func offsets(letters string, shape []int, outer, inner string) [][]int {
	one := func(which string) []int {
		offs := []int{0}
		for _, r := range which {
			at := strings.IndexRune(letters, r)
			step, n := tensor.Len(shape[at+1:]), shape[at]
			next := make([]int, 0, len(offs)*n)
			for _, o := range offs {
				for i := range n {
					next = append(next, o+i*step)
				}
			}
			offs = next
		}
		return offs
	}
	ins := one(inner)
	var out [][]int
	for _, o := range one(outer) {
		row := make([]int, len(ins))
		for i, n := range ins {
			row[i] = o + n
		}
		out = append(out, row)
	}
	return out
}

// line is a fixed pattern of offsets: the elements a sum runs over.
type line struct {
	offs       []int
	contiguous bool
}

func newLine(offs []int) line {
	for i, o := range offs {
		if o != i {
			return line{offs, false}
		}
	}
	return line{offs, true}
}

// of gives x's elements at at+offs, copied into buf unless they lie side by side.
func of[F tensor.Float](l line, buf, x []F, at int) []F {
	if l.contiguous {
		return x[at : at+len(l.offs)]
	}
	for i, o := range l.offs {
		buf[i] = x[at+o]
	}
	return buf
}

// linesOf is of for an operand that may be a parameter; one whose summed
// elements are its rows is decoded row by row.
func linesOf[F tensor.Float](v tensor.Value[F], l line) func(buf []F, at int) []F {
	if n := len(l.offs); v.Rows != nil && l.contiguous && n == v.Rows.Cols() {
		return func(buf []F, at int) []F {
			tensor.DecodeRow(v.Rows, buf, at/n)
			return buf
		}
	}
	x := v.Dense()
	return func(buf []F, at int) []F { return of(l, buf, x, at) }
}
