package ir

import (
	"fmt"
	"math"
	"math/bits"
	"sort"
	"strconv"
	"strings"
)

// Expr is an exact integer expression over symbols: a polynomial whose atoms
// are symbols, floor(e/k) and min(e, f). Dimensions, index formulas and retention
// lengths are Exprs. Expressions are immutable and kept in a canonical form,
// so equal polynomials print alike and compare equal with Equal.
//
// The zero Expr is 0. Numbers lie within ±(2^63-1), so that every one has a
// sign and a magnitude in the text form. Arithmetic that leaves this range
// yields an Expr whose Overflow method reports true, and so do sums of more
// than 64 terms and products of more than 16 atoms; it prints as "overflow"
// and does not evaluate.
type Expr struct {
	terms    []term // sorted by key, no zero coefficients; the constant term has key ""
	overflow bool
}

type term struct {
	coeff int64
	atoms []atom // sorted by key; empty for the constant term
}

// atom is a symbol, floor(num/div) or, where div is 0, min(num, other).
type atom struct {
	sym        string // "": it is none
	num, other *Expr
	div        int64
}

// Const returns the constant n.
func Const(n int64) Expr {
	switch n {
	case 0:
		return Expr{}
	case math.MinInt64:
		return Expr{overflow: true}
	}
	return Expr{terms: []term{{coeff: n}}}
}

// Sym returns the symbol of that name.
func Sym(name string) Expr {
	return Expr{terms: []term{{coeff: 1, atoms: []atom{{sym: name}}}}}
}

// Dims returns constants, for shapes of known sizes.
func Dims(sizes ...int) []Expr {
	out := make([]Expr, len(sizes))
	for i, n := range sizes {
		out[i] = Const(int64(n))
	}
	return out
}

func (a atom) key() string {
	switch {
	case a.num == nil:
		return a.sym
	case a.div == 0:
		return "min(" + a.num.String() + "," + a.other.String() + ")"
	}
	return "floor(" + a.num.divisible() + "/" + strconv.FormatInt(a.div, 10) + ")"
}

// divisible prints e so that a following "/k" applies to all of it.
func (e Expr) divisible() string {
	if len(e.terms) == 1 && e.terms[0].coeff == 1 && len(e.terms[0].atoms) <= 1 {
		return e.String()
	}
	return "(" + e.String() + ")"
}

func (t term) key() string {
	keys := make([]string, len(t.atoms))
	for i, a := range t.atoms {
		keys[i] = a.key()
	}
	return strings.Join(keys, "*")
}

// Bounds of an expression, so that text from outside cannot multiply without
// end. Real expressions have a handful of terms and of atoms in each.
const (
	maxTerms = 64
	maxAtoms = 16
)

// fromTerms sorts, merges and drops zero terms.
func fromTerms(ts []term) Expr {
	sums := make(map[string]term, len(ts))
	keys := make([]string, 0, len(ts))
	for _, t := range ts {
		k := t.key()
		old, seen := sums[k]
		if !seen {
			keys = append(keys, k)
			sums[k] = t
			continue
		}
		c, ok := addOK(old.coeff, t.coeff)
		if !ok {
			return Expr{overflow: true}
		}
		old.coeff = c
		sums[k] = old
	}
	sort.Strings(keys)
	var out []term
	for _, k := range keys {
		if sums[k].coeff != 0 {
			out = append(out, sums[k])
		}
	}
	if len(out) > maxTerms {
		return Expr{overflow: true}
	}
	return Expr{terms: out}
}

// addOK and mulOK compute within ±(2^63-1).
func addOK(a, b int64) (int64, bool) {
	s := a + b
	return s, (s > a) == (b > 0) && s != math.MinInt64
}

func mulOK(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	negative := (a < 0) != (b < 0)
	switch {
	case hi != 0 || lo > math.MaxInt64:
		return 0, false
	case negative:
		return -int64(lo), true
	}
	return int64(lo), true
}

func magnitude(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// Add returns e + f.
func (e Expr) Add(f Expr) Expr {
	if e.overflow || f.overflow {
		return Expr{overflow: true}
	}
	return fromTerms(append(append([]term(nil), e.terms...), f.terms...))
}

// Sub returns e - f.
func (e Expr) Sub(f Expr) Expr { return e.Add(f.Mul(Const(-1))) }

// Mul returns e * f.
func (e Expr) Mul(f Expr) Expr {
	if e.overflow || f.overflow {
		return Expr{overflow: true}
	}
	var ts []term
	for _, a := range e.terms {
		for _, b := range f.terms {
			c, ok := mulOK(a.coeff, b.coeff)
			if !ok || len(a.atoms)+len(b.atoms) > maxAtoms {
				return Expr{overflow: true}
			}
			atoms := append(append([]atom(nil), a.atoms...), b.atoms...)
			sort.Slice(atoms, func(i, j int) bool { return atoms[i].key() < atoms[j].key() })
			ts = append(ts, term{c, atoms})
		}
	}
	return fromTerms(ts)
}

// FloorDiv returns floor(e/k) for k > 0; it panics on k <= 0, which the
// parser refuses before it calls. Whole multiples of k leave the floor:
// floor((4*T+5)/4) is T+1+floor(1/4), that is T+1, and floor((floor(P/4)+1)/8) is
// floor((P+4)/32).
func (e Expr) FloorDiv(k int64) Expr {
	if k <= 0 {
		panic("ir: FloorDiv by " + strconv.FormatInt(k, 10))
	}
	if e.overflow || k == 1 {
		return e
	}
	var whole, rest []term
	for _, t := range e.terms {
		q, r := t.coeff/k, t.coeff%k
		if r < 0 {
			q, r = q-1, r+k
		}
		if q != 0 {
			whole = append(whole, term{q, t.atoms})
		}
		if r != 0 {
			rest = append(rest, term{r, t.atoms})
		}
	}
	if len(rest) == 0 || (len(rest) == 1 && len(rest[0].atoms) == 0) {
		return fromTerms(whole) // 0 <= constant rest < k
	}
	num := Expr{terms: rest}
	if n, d, ok := num.flattened(k); ok {
		num, k = n, d
	}
	return fromTerms(append(whole, term{1, []atom{{num: &num, div: k}}}))
}

// flattened returns n and d with floor(e/k) = floor(n/d) of an e that is floor(a/b)+c.
func (e Expr) flattened(k int64) (n Expr, d int64, ok bool) {
	last := e.terms[len(e.terms)-1]
	if len(e.terms) > 2 || last.coeff != 1 || len(last.atoms) != 1 || last.atoms[0].div == 0 {
		return Expr{}, 0, false
	}
	var c int64
	if len(e.terms) == 2 {
		if len(e.terms[0].atoms) > 0 {
			return Expr{}, 0, false
		}
		c = e.terms[0].coeff
	}
	b := last.atoms[0].div
	d, ok = mulOK(b, k)
	n = last.atoms[0].num.Add(Const(b).Mul(Const(c)))
	return n, d, ok && !n.overflow
}

// Min returns the smaller one of e and f.
func (e Expr) Min(f Expr) Expr {
	if e.overflow || f.overflow {
		return Expr{overflow: true}
	}
	a, constA := e.Value()
	b, constB := f.Value()
	switch {
	case constA && constB:
		return Const(min(a, b))
	case e.Equal(f):
		return e
	case constA || !constB && f.String() < e.String(): // a constant reads best last
		e, f = f, e
	}
	return Expr{terms: []term{{1, []atom{{num: &e, other: &f}}}}}
}

// Mod returns e - k*floor(e/k), for k > 0.
func (e Expr) Mod(k int64) Expr { return e.Sub(e.FloorDiv(k).Mul(Const(k))) }

// Overflow reports whether building e left the bounds that Expr names.
func (e Expr) Overflow() bool { return e.overflow }

// Value returns the constant e stands for, if it has no symbols.
func (e Expr) Value() (int64, bool) {
	switch {
	case e.overflow:
		return 0, false
	case len(e.terms) == 0:
		return 0, true
	case len(e.terms) == 1 && len(e.terms[0].atoms) == 0:
		return e.terms[0].coeff, true
	}
	return 0, false
}

// Symbol returns the name when e is exactly one symbol.
func (e Expr) Symbol() (string, bool) {
	if len(e.terms) == 1 && e.terms[0].coeff == 1 && len(e.terms[0].atoms) == 1 && e.terms[0].atoms[0].num == nil {
		return e.terms[0].atoms[0].sym, true
	}
	return "", false
}

// Quotient returns a and k when e is exactly floor(a/k).
func (e Expr) Quotient() (a Expr, k int64, ok bool) {
	if len(e.terms) == 1 && e.terms[0].coeff == 1 && len(e.terms[0].atoms) == 1 && e.terms[0].atoms[0].div != 0 {
		f := e.terms[0].atoms[0]
		return *f.num, f.div, true
	}
	return Expr{}, 0, false
}

// Equal reports whether e and f are the same polynomial.
func (e Expr) Equal(f Expr) bool {
	if e.overflow || f.overflow {
		return false
	}
	a, constA := e.Value()
	b, constB := f.Value()
	if constA || constB { // the common case, without printing
		return constA && constB && a == b
	}
	return e.String() == f.String()
}

// Walk calls f with every symbol in e, repeats included.
func (e Expr) Walk(f func(symbol string)) {
	for _, t := range e.terms {
		for _, a := range t.atoms {
			if a.num == nil {
				f(a.sym)
				continue
			}
			a.num.Walk(f)
			if a.other != nil {
				a.other.Walk(f)
			}
		}
	}
}

// Env gives symbols their values.
type Env func(symbol string) (int64, bool)

// Eval computes e exactly. It fails on a symbol env lacks and on overflow.
func (e Expr) Eval(env Env) (int64, error) {
	if e.overflow {
		return 0, fmt.Errorf("expression leaves the 64-bit range")
	}
	var sum int64
	for _, t := range e.terms {
		p := t.coeff
		for _, a := range t.atoms {
			v, err := a.eval(env)
			if err != nil {
				return 0, err
			}
			var ok bool
			if p, ok = mulOK(p, v); !ok {
				return 0, fmt.Errorf("%s leaves the 64-bit range", e)
			}
		}
		var ok bool
		if sum, ok = addOK(sum, p); !ok {
			return 0, fmt.Errorf("%s leaves the 64-bit range", e)
		}
	}
	return sum, nil
}

func (a atom) eval(env Env) (int64, error) {
	if a.num == nil {
		v, ok := env(a.sym)
		if !ok {
			return 0, fmt.Errorf("symbol %s has no value", a.sym)
		}
		return v, nil
	}
	n, err := a.num.Eval(env)
	if err != nil {
		return 0, err
	}
	if a.div == 0 {
		m, err := a.other.Eval(env)
		return min(n, m), err
	}
	q := n / a.div
	if n%a.div < 0 {
		q--
	}
	return q, nil
}

// String prints the canonical form: T*6+3, floor((P+3)/4), i-127.
func (e Expr) String() string {
	if e.overflow {
		return "overflow"
	}
	if len(e.terms) == 0 {
		return "0"
	}
	ordered := e.terms
	if len(ordered[0].atoms) == 0 { // the constant reads best last
		ordered = append(append([]term(nil), ordered[1:]...), ordered[0])
	}
	var b strings.Builder
	for i, t := range ordered {
		switch {
		case t.coeff < 0:
			b.WriteByte('-')
		case i > 0:
			b.WriteByte('+')
		}
		mag := magnitude(t.coeff)
		switch k := t.key(); {
		case k == "":
			b.WriteString(strconv.FormatUint(mag, 10))
		case mag == 1:
			b.WriteString(k)
		default:
			b.WriteString(k + "*" + strconv.FormatUint(mag, 10))
		}
	}
	return b.String()
}
