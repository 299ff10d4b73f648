package ir_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

// naive is an expression tree evaluated in big.Int, built beside an ir.Expr.
type naive func(x, y int64) *big.Int

func bigConst(n int64) naive { return func(_, _ int64) *big.Int { return big.NewInt(n) } }

func bigBinary(a, b naive, f func(z, a, b *big.Int) *big.Int) naive {
	return func(x, y int64) *big.Int { return f(new(big.Int), a(x, y), b(x, y)) }
}

// floorDiv and floorMod round towards minus infinity; Euclidean division does so for k > 0.
func floorDiv(z, a, k *big.Int) *big.Int { return z.Div(a, k) }
func floorMod(z, a, k *big.Int) *big.Int { return z.Mod(a, k) }

func add(z, a, b *big.Int) *big.Int { return z.Add(a, b) }
func sub(z, a, b *big.Int) *big.Int { return z.Sub(a, b) }
func mul(z, a, b *big.Int) *big.Int { return z.Mul(a, b) }
func smaller(z, a, b *big.Int) *big.Int {
	if a.Cmp(b) > 0 {
		a = b
	}
	return z.Set(a)
}

// randomExpr grows an expression over x and y and its naive twin.
func randomExpr(r *rand.Rand, depth int) (ir.Expr, naive) {
	if depth == 0 || r.IntN(6) == 0 {
		switch r.IntN(4) {
		case 0:
			return ir.Sym("x"), func(x, _ int64) *big.Int { return big.NewInt(x) }
		case 1:
			return ir.Sym("y"), func(_, y int64) *big.Int { return big.NewInt(y) }
		}
		n := int64(r.IntN(19) - 9)
		return ir.Const(n), bigConst(n)
	}
	a, na := randomExpr(r, depth-1)
	k := int64(1 + r.IntN(9))
	switch r.IntN(5) {
	case 0:
		return a.FloorDiv(k), bigBinary(na, bigConst(k), floorDiv)
	case 1:
		return a.Mod(k), bigBinary(na, bigConst(k), floorMod)
	}
	b, nb := randomExpr(r, depth-1)
	switch r.IntN(4) {
	case 0:
		return a.Add(b), bigBinary(na, nb, add)
	case 1:
		return a.Sub(b), bigBinary(na, nb, sub)
	case 2:
		return a.Min(b), bigBinary(na, nb, smaller)
	}
	return a.Mul(b), bigBinary(na, nb, mul)
}

func at(x, y int64) ir.Env {
	return func(s string) (int64, bool) {
		switch s {
		case "x":
			return x, true
		case "y":
			return y, true
		}
		return 0, false
	}
}

func TestExprAgainstBigInt(t *testing.T) {
	const seed = 11
	r := rand.New(rand.NewPCG(seed, 0))
	values := 0
	for i := range 4000 {
		e, twin := randomExpr(r, 1+i%5)
		if e.Overflow() {
			t.Fatalf("seed %d, case %d: overflow from small numbers", seed, i)
		}
		for x := int64(-6); x <= 6; x++ {
			for y := int64(-6); y <= 6; y++ {
				want := twin(x, y)
				got, err := e.Eval(at(x, y))
				if err != nil {
					if want.IsInt64() {
						// A term may leave the range though the sum would not; small trees never do.
						t.Fatalf("seed %d, case %d: %s at x=%d y=%d: %v, want %s", seed, i, e, x, y, err, want)
					}
					continue
				}
				values++
				if !want.IsInt64() || got != want.Int64() {
					t.Fatalf("seed %d, case %d: %s at x=%d y=%d is %d, want %s", seed, i, e, x, y, got, want)
				}
			}
		}
	}
	t.Logf("%d values compared", values)
}

// TestExprCanonical builds the same polynomial in two ways.
func TestExprCanonical(t *testing.T) {
	const seed = 12
	r := rand.New(rand.NewPCG(seed, 0))
	same := func(what string, a, b ir.Expr) {
		t.Helper()
		if a.String() != b.String() || !a.Equal(b) {
			t.Errorf("seed %d: %s: %s and %s", seed, what, a, b)
		}
	}
	for i := range 2000 {
		a, _ := randomExpr(r, 1+i%3)
		b, _ := randomExpr(r, 1+i%3)
		c, _ := randomExpr(r, 1+i%2)
		k := int64(1 + r.IntN(7))
		kk := ir.Const(k)
		same("a+b = b+a", a.Add(b), b.Add(a))
		same("a*b = b*a", a.Mul(b), b.Mul(a))
		same("(a+b)+c = a+(b+c)", a.Add(b).Add(c), a.Add(b.Add(c)))
		same("(a*b)*c = a*(b*c)", a.Mul(b).Mul(c), a.Mul(b.Mul(c)))
		same("a*(b+c) = a*b+a*c", a.Mul(b.Add(c)), a.Mul(b).Add(a.Mul(c)))
		same("a-a = 0", a.Sub(a), ir.Const(0))
		same("a-b = -(b-a)", a.Sub(b), b.Sub(a).Mul(ir.Const(-1)))
		same("floor((k*a+k*b)/k) = a+b", a.Mul(kk).Add(b.Mul(kk)).FloorDiv(k), a.Add(b))
		same("floor(a/k)*k + a mod k = a", a.FloorDiv(k).Mul(kk).Add(a.Mod(k)), a)
		same("floor((a+k)/k) = floor(a/k)+1", a.Add(kk).FloorDiv(k), a.FloorDiv(k).Add(ir.Const(1)))
	}
}

func TestExprPrints(t *testing.T) {
	x, y := ir.Sym("x"), ir.Sym("y")
	n := ir.Const
	for want, e := range map[string]ir.Expr{
		"0":                         {},
		"-7":                        n(-7),
		"x":                         x,
		"-x":                        x.Mul(n(-1)),
		"x*6+3":                     n(3).Add(x.Mul(n(6))),
		"x-127":                     x.Sub(n(127)),
		"-x+1":                      n(1).Sub(x),
		"x*y*2":                     y.Mul(x).Mul(n(2)),
		"x*x":                       x.Mul(x),
		"floor(x/4)":                x.FloorDiv(4),
		"floor((x+3)/4)":            x.Add(n(3)).FloorDiv(4),
		"x+1":                       x.Mul(n(4)).Add(n(5)).FloorDiv(4),
		"floor(x/12)":               x.FloorDiv(3).FloorDiv(4),
		"floor((x*3)/4)-x":          x.Mul(n(-1)).FloorDiv(4),
		"-floor(x/4)*4+x":           x.Mod(4),
		"floor((x*y)/2)":            x.Mul(y).FloorDiv(2),
		"floor((floor(x/2)+y)/3)*2": x.FloorDiv(2).Add(y).FloorDiv(3).Mul(n(2)),
		"9223372036854775807":       n(math.MaxInt64),
		"-9223372036854775807":      n(-math.MaxInt64),
		"overflow":                  n(math.MaxInt64).Add(n(1)),
	} {
		if e.String() != want {
			t.Errorf("printed %s, want %s", e, want)
		}
	}
}

func TestExprOverflow(t *testing.T) {
	n, x := ir.Const, ir.Sym("x")
	sum := func(k int) (s ir.Expr) { // of k products with different atoms
		for i := range int64(k) {
			s = s.Add(x.FloorDiv(i + 2))
		}
		return s
	}
	power := func(k int) ir.Expr {
		p := n(1)
		for range k {
			p = p.Mul(x)
		}
		return p
	}
	for name, c := range map[string]struct {
		e    ir.Expr
		over bool
	}{
		"largest":          {n(math.MaxInt64), false},
		"smallest":         {n(-math.MaxInt64), false},
		"beyond smallest":  {n(math.MinInt64), true},
		"sum up":           {n(math.MaxInt64).Add(n(1)), true},
		"sum down":         {n(-math.MaxInt64).Add(n(-1)), true},
		"sum back":         {n(math.MaxInt64).Add(n(-1)), false},
		"difference":       {n(-math.MaxInt64).Sub(n(1)), true},
		"product":          {n(1 << 32).Mul(n(1 << 31)), true},
		"product negative": {n(-1 << 32).Mul(n(1 << 31)), true},
		"product fits":     {n(1 << 31).Mul(n(1 << 31)), false},
		"product 2^64":     {n(1 << 32).Mul(n(1 << 32)), true},
		"coefficient":      {x.Mul(n(1 << 40)).Mul(n(1 << 40)), true},
		"merged terms":     {x.Mul(n(math.MaxInt64)).Add(x), true},
		"it sticks: sum":   {n(math.MinInt64).Add(n(1)), true},
		"it sticks: minus": {n(0).Sub(n(math.MinInt64)), true},
		"it sticks: zero":  {n(math.MinInt64).Mul(n(0)), true},
		"it sticks: floor": {n(math.MinInt64).FloorDiv(7), true},
		"64 terms":         {sum(64), false},
		"65 terms":         {sum(65), true},
		"16 atoms":         {power(16), false},
		"17 atoms":         {power(17), true},
		"floor is an atom": {power(16).FloorDiv(2), false},
	} {
		if c.e.Overflow() != c.over {
			t.Errorf("%s: %s: overflow is %v", name, c.e, c.e.Overflow())
		}
		if _, err := c.e.Eval(at(1, 1)); (err != nil) != c.over {
			t.Errorf("%s: Eval: %v", name, err)
		}
		if _, isConst := c.e.Value(); c.over && isConst {
			t.Errorf("%s: has a value", name)
		}
		if c.over && c.e.Equal(c.e) {
			t.Errorf("%s: equals itself; nothing is known of it", name)
		}
	}
}

func TestExprEvalErrors(t *testing.T) {
	x, z := ir.Sym("x"), ir.Sym("z")
	for _, c := range []struct {
		e    ir.Expr
		x    int64
		want string
	}{
		{z, 0, "symbol z has no value"},
		{z.Add(x).FloorDiv(2), 0, "symbol z has no value"},
		{x.Mul(ir.Const(2)), math.MaxInt64, "x*2 leaves the 64-bit range"},
		{x.Mul(x), 1 << 32, "x*x leaves the 64-bit range"},
		{x.Add(ir.Const(1)), math.MaxInt64, "x+1 leaves the 64-bit range"},
		{x.Add(ir.Const(1)).FloorDiv(3), math.MaxInt64, "x+1 leaves the 64-bit range"},
		{ir.Const(math.MinInt64), 0, "expression leaves the 64-bit range"},
	} {
		if _, err := c.e.Eval(at(c.x, 0)); err == nil || err.Error() != c.want {
			t.Errorf("%s at %d: error %v, want %q", c.e, c.x, err, c.want)
		}
	}
}

func TestFloorDivPanicsOnProgramError(t *testing.T) {
	for _, k := range []int64{0, -1} {
		func() {
			defer func() {
				if got, want := fmt.Sprint(recover()), fmt.Sprintf("ir: FloorDiv by %d", k); got != want {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			ir.Sym("x").FloorDiv(k)
		}()
	}
}

func TestExprSymbolAndWalk(t *testing.T) {
	x := ir.Sym("x")
	if s, ok := x.Symbol(); s != "x" || !ok {
		t.Errorf("Symbol of x: %q %v", s, ok)
	}
	for _, e := range []ir.Expr{{}, ir.Const(1), x.Mul(ir.Const(2)), x.Add(ir.Const(1)), x.Mul(x), x.FloorDiv(2), x.Min(ir.Const(2))} {
		if _, ok := e.Symbol(); ok {
			t.Errorf("%s is not one symbol", e)
		}
	}
	var seen []string
	x.Add(ir.Sym("y").FloorDiv(3)).Mul(x).Walk(func(s string) { seen = append(seen, s) })
	x.Min(ir.Sym("y")).Walk(func(s string) { seen = append(seen, s) })
	if got := strings.Join(seen, " "); got != "y x x x x y" {
		t.Errorf("walked %s", got)
	}
}

func TestExprMin(t *testing.T) {
	x, y := ir.Sym("x"), ir.Sym("y")
	for _, c := range []struct {
		e    ir.Expr
		want string
	}{
		{y.Min(x), "min(x,y)"},
		{ir.Const(3).Min(x), "min(x,3)"},
		{x.Min(ir.Const(3)), "min(x,3)"},
		{ir.Const(3).Min(ir.Const(-2)), "-2"},
		{x.Add(y).Min(y.Add(x)), "x+y"},
		{x.Min(ir.Const(0)).Mul(ir.Const(2)).Add(y.Min(x).FloorDiv(4)), "floor(min(x,y)/4)+min(x,0)*2"},
		{x.Min(ir.Const(math.MinInt64)), "overflow"},
	} {
		if got := c.e.String(); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestExprQuotient(t *testing.T) {
	x := ir.Sym("x")
	a, k, ok := x.Add(ir.Const(1)).FloorDiv(4).Quotient()
	if !ok || k != 4 || !a.Equal(x.Add(ir.Const(1))) {
		t.Errorf("floor((x+1)/4) is %s by %d, %v", a, k, ok)
	}
	half := x.FloorDiv(2)
	for _, e := range []ir.Expr{{}, ir.Const(3), x, half.Add(ir.Const(1)), half.Mul(ir.Const(2)), half.Mul(x), x.FloorDiv(1), half.Min(x), ir.Const(math.MinInt64)} {
		if a, k, ok := e.Quotient(); ok || k != 0 || !a.Equal(ir.Const(0)) {
			t.Errorf("%s is not one quotient; found %s by %d", e, a, k)
		}
	}
}

// TestExprThroughText prints expressions as a state's retention, parses them and compares.
func TestExprThroughText(t *testing.T) {
	const seed = 13
	r := rand.New(rand.NewPCG(seed, 0))
	through := func(e ir.Expr) {
		t.Helper()
		src := fmt.Sprintf("module @m\nsymbol x = rows\nsymbol y = reach\ninput %%token : tensor<x x i32>\n"+
			"state @s : tensor<1 x f32> keep %s\nreturn %%token\n", e)
		m, err := text.Parse("expr.ir", src)
		if err != nil {
			t.Fatalf("seed %d: %s: %v", seed, e, err)
		}
		if got := m.States[0].Keep; !got.Equal(e) {
			t.Fatalf("seed %d: %s parsed to %s", seed, e, got)
		}
	}
	for i := range 1000 {
		e, _ := randomExpr(r, 1+i%5)
		through(e)
	}
	through(ir.Const(math.MaxInt64))
	through(ir.Const(-math.MaxInt64))
	through(ir.Sym("x").Mul(ir.Const(-math.MaxInt64)).Add(ir.Const(-math.MaxInt64)))
}
