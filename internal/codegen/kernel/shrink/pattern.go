package shrink

import (
	"math"
	"reflect"

	"smelt.example/smelt/internal/codegen/kernel"
)

// pattern is what repetitions of some statements have in common.
type pattern struct {
	body     []kernel.Stmt         // the second of them, which has all additions
	advances map[*kernel.Expr]step // its constants that change from one to the next
	names    map[string]string     // its names, as the first one has them
	numbers  map[string]int        // its names, numbered
	first    map[string]bool       // the first one's names that it has under others
}

// step is a constant that advances: first + i*by.
type step struct{ first, by int64 }

// patternOf is the pattern of two repetitions; nil if they are none.
func patternOf(a, b []kernel.Stmt) *pattern {
	p := &pattern{body: b, advances: map[*kernel.Expr]step{}, names: map[string]string{}, numbers: numbersOf(b), first: map[string]bool{}}
	inA, inB := declared(a), declared(b)
	if len(inA) != len(inB) {
		return nil
	}
	for i, name := range inB {
		p.names[name] = inA[i]
		p.first[inA[i]] = inA[i] != name
	}
	if !p.blocks(a, b) || !p.fits(0, a) || !p.fits(1, b) {
		return nil
	}
	return p
}

// declared lists what a body declares, in order.
func declared(body []kernel.Stmt) (names []string) {
	kernel.Declared(body, func(name string) { names = append(names, name) })
	return names
}

// blocks notes the constants in which blocks differ; false if more differs than
// constants, names and additions. fits looks at the rest.
func (p *pattern) blocks(a, b []kernel.Stmt) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if kindOf(a[i]) != kindOf(b[i]) {
			return false
		}
		x, y := kernel.Operands(a[i]), kernel.Operands(b[i])
		if len(x) != len(y) {
			return false
		}
		for j := range x {
			if !p.exprs(x[j], y[j]) {
				return false
			}
		}
		for j, name := range namesIn(b[i]) {
			if !p.sameName(namesIn(a[i])[j], name) {
				return false
			}
		}
		within, also := kernel.Blocks(a[i]), kernel.Blocks(b[i])
		if len(within) != len(also) {
			return false
		}
		for j := range within {
			if !p.blocks(within[j], also[j]) {
				return false
			}
		}
	}
	return true
}

// exprs is blocks for expressions.
func (p *pattern) exprs(a, b *kernel.Expr) bool {
	if n, ok := b.Constant(); ok && a.Op == kernel.OpConst && a.Type == b.Type {
		return a.Int == n || p.note(b, step{a.Int, n - a.Int})
	}
	if b.Op == kernel.OpAdd && !(a.Op == kernel.OpAdd && isConstant(a.Args[1])) {
		if n, ok := b.Args[1].Constant(); ok { // adding 0 is left out
			return p.exprs(a, b.Args[0]) && p.note(b.Args[1], step{0, n})
		}
	}
	if a.Op != b.Op || len(a.Args) != len(b.Args) || (a.Op == kernel.OpLocal || a.Op == kernel.OpElement) && !p.sameName(a.Name, b.Name) {
		return false
	}
	for i := range a.Args {
		if !p.exprs(a.Args[i], b.Args[i]) {
			return false
		}
	}
	return true
}

// sameName reports whether a name of the second repetition stands for what the first one
// has under another.
func (p *pattern) sameName(a, b string) bool {
	if as, own := p.names[b]; own {
		return a == as
	}
	return a == b
}

func isConstant(e *kernel.Expr) bool { _, ok := e.Constant(); return ok }

// note says how a constant advances. Expressions share operands, so it may be asked twice.
func (p *pattern) note(e *kernel.Expr, s step) bool {
	have, ok := p.advances[e]
	p.advances[e] = s
	return !ok || have == s
}

// at is repetition i, under the first one's names.
func (p *pattern) at(i *kernel.Expr) []kernel.Stmt {
	return kernel.Rewritten(p.body, func(_ kernel.NameKind, name string) string {
		if as, ok := p.names[name]; ok {
			return as
		}
		return name
	}, func(old, copied *kernel.Expr) *kernel.Expr {
		if s, ok := p.advances[old]; ok {
			return s.at(i, old.Type.Scalar)
		}
		if old.Op == kernel.OpAdd && p.advanced(old.Args[1]) {
			return copied.Args[0].Add(copied.Args[1])
		}
		return copied
	})
}

// at is the constant of repetition i.
func (s step) at(i *kernel.Expr, t kernel.Scalar) *kernel.Expr {
	if s.by < 0 { // u32 has no number for that
		return whole(t, s.first).Sub(i.To(t).Mul(whole(t, -s.by)))
	}
	return i.To(t).Mul(whole(t, s.by)).Add(whole(t, s.first))
}

func (p *pattern) advanced(e *kernel.Expr) bool { _, ok := p.advances[e]; return ok }

// whole is a constant of an integer type.
func whole(s kernel.Scalar, n int64) *kernel.Expr {
	return &kernel.Expr{Op: kernel.OpConst, Type: kernel.Of(s), Int: n}
}

// fits reports whether statements are repetition i.
func (p *pattern) fits(i int, body []kernel.Stmt) bool {
	numbers := numbersOf(body)
	alike := kernel.Likeness{
		Names: func(kind kernel.NameKind, a, b string) bool {
			n, own := p.numbers[a]
			m, its := numbers[b]
			if kind > kernel.FragmentName || !own && !its {
				return a == b && !p.first[a] // a name of the first repetition is none of others
			}
			return own == its && n == m
		},
	}
	alike.Exprs = func(a, b *kernel.Expr) (equal, known bool) {
		if n, ok := p.number(a, i); ok {
			return b.Op == kernel.OpConst && b.Type == a.Type && b.Int == n, true
		}
		if a.Op == kernel.OpAdd && p.advanced(a.Args[1]) { // adding 0 is left out
			if n, _ := p.number(a.Args[1], i); n == 0 {
				return alike.Equal(a.Args[0], b), true
			}
		}
		return false, false
	}
	return alike.EqualBlocks(p.body, body)
}

// number is the constant that an expression is in repetition i, if some of it advances.
func (p *pattern) number(e *kernel.Expr, i int) (n int64, ok bool) {
	if s, ok := p.advances[e]; ok {
		return s.first + int64(i)*s.by, true
	}
	if e.Op == kernel.OpAdd && p.advanced(e.Args[1]) {
		n, ok = p.number(e.Args[0], i)
		if !ok {
			n, ok = e.Args[0].Constant()
		}
		by, _ := p.number(e.Args[1], i)
		return n + by, ok
	}
	return 0, false
}

// numbersOf numbers the names that a body declares.
func numbersOf(body []kernel.Stmt) map[string]int {
	numbers := map[string]int{}
	kernel.Declared(body, func(name string) { numbers[name] = len(numbers) })
	return numbers
}

// fingerprint is a hash of what statements must have alike to be of one pattern, with the
// number of operations.
func fingerprint(s kernel.Stmt) (hash uint64, size int) {
	h := hasher(14695981039346656037) // FNV-1a of 64 bits
	h.stmt(s, &size)
	return uint64(h), size
}

// kindOf is the kind of a statement.
func kindOf(s kernel.Stmt) reflect.Type { return reflect.TypeOf(s) }

type hasher uint64

func (h *hasher) add(n uint64) { *h = (*h ^ hasher(n)) * 1099511628211 }

func (h *hasher) word(s string) {
	for _, c := range []byte(s) {
		h.add(uint64(c))
	}
}

func (h *hasher) stmt(s kernel.Stmt, size *int) {
	*size++
	h.word(kindOf(s).Elem().Name())
	switch s := s.(type) {
	case *kernel.Comment:
		h.word(s.Text)
	case *kernel.Store:
		h.word(s.Name)
	case *kernel.For:
		if s.Unrolled { // its bounds stay constants
			h.add(uint64(s.Lo.Int))
			h.add(uint64(s.Hi.Int))
			h.add(uint64(s.Step.Int))
		}
	}
	for _, e := range kernel.Operands(s) {
		h.expr(e, size)
	}
	for _, b := range kernel.Blocks(s) {
		h.add(uint64(len(b)))
		for _, s := range b {
			h.stmt(s, size)
		}
	}
}

func (h *hasher) expr(e *kernel.Expr, size *int) {
	if e.Op == kernel.OpAdd && isConstant(e.Args[1]) {
		h.expr(e.Args[0], size)
		return
	}
	*size++
	h.add(uint64(e.Op))
	h.add(uint64(e.Type.Scalar)<<8 | uint64(e.Type.Lanes))
	h.add(math.Float64bits(e.Float))
	switch {
	case e.Op == kernel.OpLoad:
		h.word(e.Name)
	case !isConstant(e):
		h.add(uint64(e.Int))
	}
	for _, a := range e.Args {
		h.expr(a, size)
	}
}
