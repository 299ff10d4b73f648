package shrink_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/kernel/draw"
	"smelt.example/smelt/internal/codegen/kernel/interp"
	"smelt.example/smelt/internal/codegen/kernel/shrink"
)

// head begins the kernels of these tests.
const head = `kernel k
schedule 32 32
pointer x f32x4 read
pointer w u32 read
pointer v u32 read
pointer y f32 write
{
`

func shrunk(t *testing.T, body string) string {
	t.Helper()
	k, err := kernel.Parse(head + body + "}\n")
	if err != nil {
		t.Fatal(err)
	}
	before := kernel.Print(k)
	short, err := shrink.Kernel(k)
	if err != nil {
		t.Fatal(err)
	}
	if kernel.Print(k) != before {
		t.Error("the kernel given was changed")
	}
	return strings.TrimSuffix(strings.TrimPrefix(kernel.Print(short), head), "}\n")
}

// block is a part of a sum as products write it.
func block(n int, word, at, scale string) string {
	return fmt.Sprintf(`  let word_%d = device w[%s]
  let low_%d = f32((word_%d & 15u))
  let x_%d = device x[%s]
  set sum = fma(low_%d, lane0(x_%d), (sum * %s))
`, n, word, n, n, n, at, n, n, scale)
}

// TestRolled shows what becomes a loop and what does not.
func TestRolled(t *testing.T) {
	first := "  let unit = (%lane * 3)\n  var sum = 0.0\n"
	last := "  store device y[%lane] = sum\n"
	a, b, c := block(1, "unit", "(%lane / 4)", "2.0"), block(2, "(unit + 1)", "((%lane + 8) / 4)", "2.0"), block(3, "(unit + 2)", "((%lane + 16) / 4)", "2.0")
	loop := first + `  for i = 0 to 3 by 1 unrolled {
    let word_1 = device w[(unit + i)]
    let low_1 = f32((word_1 & 15u))
    let x_1 = device x[((%lane + (i * 8)) / 4)]
    set sum = fma(low_1, lane0(x_1), (sum * 2.0))
  }
` + last
	for name, test := range map[string]struct{ body, want string }{
		"constants advance": {first + a + b + c + last, loop},
		"a constant falls": {strings.ReplaceAll(first+block(1, "(unit + 2)", "%lane", "2.0")+block(2, "(unit + 1)", "%lane", "2.0")+block(3, "unit", "%lane", "2.0")+last, "15u", "7u"),
			strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(loop, "(unit + i)", "(unit + (2 - i))"), "((%lane + (i * 8)) / 4)", "%lane"), "15u", "7u")},
		"steps differ":     {first + a + b + block(3, "(unit + 3)", "((%lane + 16) / 4)", "2.0") + last, ""},
		"another constant": {first + a + b + block(3, "(unit + 2)", "((%lane + 16) / 4)", "3.0") + last, ""},
		"another buffer":   {first + a + strings.ReplaceAll(b, "device w", "device v") + last, first + a + strings.ReplaceAll(b, "device w", "device v") + last},
		"a name is used afterwards": {first + a + b + c + "  store device y[%lane] = (sum + low_3)\n",
			strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(loop, "let low_1", "set lows[i]"), "low_1", "lows[i]"), "  for", "  locals lows f32 3\n  for"), "= sum\n", "= (sum + lows[2])\n")},
		"another repetition's name": {first + a + strings.ReplaceAll(b, "lane0(x_2)", "lane0(x_1)") + last, first + a + strings.ReplaceAll(b, "lane0(x_2)", "lane0(x_1)") + last},
		"another lane":              {first + a + strings.ReplaceAll(b, "lane0(x", "lane1(x") + last, first + a + strings.ReplaceAll(b, "lane0(x", "lane1(x") + last},
	} {
		got := shrunk(t, test.body)
		switch {
		case test.want != "" && got != test.want:
			t.Errorf("%s: got\n%swant\n%s", name, got, test.want)
		case test.want == "" && (strings.Count(got, "unrolled") != 1 || !strings.Contains(got, "for i = 0 to 2 by 1") || strings.Count(got, "device w") != 2):
			t.Errorf("%s: expected a loop of the first two and the third as it is, got\n%s", name, got)
		}
	}
}

// TestNested: a repetition within one becomes a loop in a loop.
func TestNested(t *testing.T) {
	body := "  var sum = 0.0\n"
	lanePlus := func(n int) string {
		if n == 0 {
			return "%lane"
		}
		return fmt.Sprintf("(%%lane + %d)", n)
	}
	for row := range 3 {
		for q := range 4 {
			body += block(4*row+q, lanePlus(100*row+q), lanePlus(q), "0.5")
		}
		body += fmt.Sprintf("  store device y[%s] = sqrt((sum * sum))\n", lanePlus(32*row))
	}
	got := shrunk(t, body)
	if strings.Count(got, "unrolled") != 2 || strings.Count(got, "device w") != 1 || !strings.Contains(got, "to 3 by 1") || !strings.Contains(got, "to 4 by 1") {
		t.Errorf("expected two loops, got\n%s", got)
	}
}

// TestFamilies: values that repetitions work on become variables under one name, and those
// of repetitions of repetitions too.
func TestFamilies(t *testing.T) {
	const rows, columns = 4, 3
	var body strings.Builder
	total := "0.0"
	for n := range rows * columns {
		fmt.Fprintf(&body, "  var sum_%d = 0.0\n", n)
		total = fmt.Sprintf("(%s + sum_%d)", total, n)
	}
	for row := range rows {
		fmt.Fprintf(&body, "  let word_%d = device w[(%%lane + %d)]\n  let low_%d = f32((word_%d & 15u))\n", row, 1+row, row, row)
	}
	for row := range rows {
		for column := range columns {
			n := row*columns + column
			fmt.Fprintf(&body, "  set sum_%d = fma(low_%d, lane0(device x[(%%lane + %d)]), (sum_%d * 2.0))\n", n, row, 1+column, n)
		}
	}
	fmt.Fprintf(&body, "  store device y[%%lane] = %s\n", total)
	got := shrunk(t, body.String())
	for _, want := range []string{"locals lows f32 4\n", "f32 12\n", `  for i = 0 to 4 by 1 unrolled {
    for i_2 = 0 to 3 by 1 unrolled {
`, "[(i + (i_2 * 4))] = fma(lows[i]"} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
	if strings.Count(got, "fma") != 1 || strings.Count(got, "unrolled") != 4 || strings.Count(got, "locals") != 2 {
		t.Errorf("expected families of sums and of numbers, and four loops, got\n%s", got)
	}
}

// TestUniform: where a family would leave lanes with values that differ, as a barrier in a
// condition cannot have, values keep their names.
func TestUniform(t *testing.T) {
	step := func(n int, at string) string {
		return fmt.Sprintf("  let low_%d = f32((device w[%s] & 15u))\n  let high_%d = f32((device w[%s] >> 4u))\n  store device y[(%%lane + %d)] = fma(low_%d, high_%d, (low_%d * 2.0))\n", n, at, n, at, 32*n, n, n, n)
	}
	got := shrunk(t, step(1, "%lane")+step(2, "%group.x")+"  if (low_2 < 3.0) {\n    barrier\n  }\n  store device y[%lane] = (low_1 + low_2)\n")
	if strings.Contains(got, "locals") || !strings.Contains(got, "if (low_2 < 3.0)") {
		t.Errorf("expected no family, got\n%s", got)
	}
}

// repeater repeats blocks of a drawn program, with constants that advance.
type repeater struct {
	r     *rand.Rand
	count int
}

func (p *repeater) block(body []kernel.Stmt) []kernel.Stmt {
	for _, s := range body {
		switch s := s.(type) {
		case *kernel.For:
			s.Body = p.repeat(p.block(s.Body))
		case *kernel.If:
			s.Then, s.Else = p.repeat(p.block(s.Then)), p.block(s.Else)
		}
	}
	return body
}

func (p *repeater) repeat(body []kernel.Stmt) (out []kernel.Stmt) {
	own := map[string]bool{}
	kernel.Declared(body, func(name string) { own[name] = true })
	advance := map[*kernel.Expr]int64{}
	kernel.Exprs(body, func(e *kernel.Expr) {
		if e.Op == kernel.OpAdd || e.Op == kernel.OpMul {
			for _, a := range e.Args {
				if _, ok := a.Constant(); ok {
					advance[a] = p.r.Int64N(3)
				}
			}
		}
	})
	for i := range int64(2 + p.r.IntN(3)) {
		p.count++
		out = append(out, kernel.Rewritten(body, func(_ kernel.NameKind, name string) string {
			if own[name] {
				name += fmt.Sprintf("_r%d", p.count)
			}
			return name
		}, func(old, copied *kernel.Expr) *kernel.Expr {
			if by, ok := advance[old]; ok {
				return kernel.C(old.Type.Scalar, float64(old.Int+i*by))
			}
			return copied
		})...)
	}
	return out
}

// TestDrawnKernels: random programs in which much repeats have less text afterwards, and
// give the same bits.
func TestDrawnKernels(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 16))
	const programs, lanes = 120, 8
	ran, shorter := 0, 0
	for range programs {
		k, err := draw.Program(r, lanes)
		if err != nil {
			continue // an index or a barrier that the verifier does not allow
		}
		k.Body = (&repeater{r: r}).block(k.Body)
		if kernel.Verify(k) != nil {
			continue
		}
		short, err := shrink.Kernel(k)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, kernel.Print(k))
		}
		reread, err := kernel.Parse(kernel.Print(short))
		if err != nil || !kernel.Equal(reread, short) {
			t.Fatalf("the text of a shorter kernel is not read back the same: %v\n%s", err, kernel.Print(short))
		}
		sameCost(t, k, short)
		launch := draw.Launch(r, lanes, 0xff)
		other := copied(launch)
		if interp.Run(k, launch) != nil {
			continue // an index of a constant that advanced
		}
		if err := interp.Run(short, other); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, kernel.Print(short))
		}
		for name := range launch.Buffers {
			if !bytes.Equal(launch.Buffers[name], other.Buffers[name]) {
				t.Fatalf("seed %d: %s differs after\n%sbecame\n%s", seed, name, kernel.Print(k), kernel.Print(short))
			}
		}
		ran++
		if len(kernel.Print(short)) < len(kernel.Print(k)) {
			shorter++
		}
	}
	if ran < programs/4 || shorter < ran/4 {
		t.Errorf("%d of %d programs ran, %d of them had less text", ran, programs, shorter)
	}
}

// sameCost: a shorter kernel is taken to read, write and compute as much.
func sameCost(t *testing.T, k, short *kernel.Kernel) {
	t.Helper()
	sizes := kernel.Env{Step: map[string]int64{"T": 9}, Scalars: map[string]int64{"n": 7}, Grid: [3]int64{3, 2, 1}}
	want, err := kernel.Estimate(k, sizes)
	got, failed := kernel.Estimate(short, sizes)
	if err != nil || failed != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("costs %+v (%v), before %+v (%v)\n%sbecame\n%s", got, failed, want, err, kernel.Print(k), kernel.Print(short))
	}
}

func copied(l interp.Launch) interp.Launch {
	buffers := map[string][]byte{}
	for name, b := range l.Buffers {
		buffers[name] = bytes.Clone(b)
	}
	l.Buffers = buffers
	return l
}
