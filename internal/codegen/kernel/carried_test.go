package kernel_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/kernel/draw"
)

// exact compares kernels field by field, expressions as lists of their operations:
// go-cmp takes exponential time on lists of lists.
var exact = cmp.Options{cmpopts.EquateEmpty(), cmp.Transformer("flat", flat)}

// operation is an expression without its operands.
type operation struct {
	Expr     kernel.Expr
	Bits     uint64
	Operands int
}

func flat(e *kernel.Expr) (out []operation) {
	if e == nil {
		return nil
	}
	for _, a := range e.Args {
		out = append(out, flat(a)...)
	}
	o := operation{*e, math.Float64bits(e.Float), len(e.Args)}
	o.Expr.Args, o.Expr.Float = nil, 0
	return append(out, o)
}

// same is kernel.Equal of kernels that may lack what it relies on.
func same(a, b *kernel.Kernel) bool { return a.Step != nil && b.Step != nil && kernel.Equal(a, b) }

// roundTrip prints a kernel and parses it back. It must be the same.
func roundTrip(t *testing.T, k *kernel.Kernel) {
	t.Helper()
	text := kernel.Print(k)
	again, err := kernel.Parse(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if !same(k, again) {
		t.Fatalf("read back as another kernel:\n%s\n%s", text, cmp.Diff(k, again, exact))
	}
	if twice := kernel.Print(again); twice != text {
		t.Fatalf("printed\n%s\nthen\n%s", text, twice)
	}
}

// hostile are names, texts and numbers that a text form can trip over.
var (
	hostile = []string{
		"step", "device", "threadgroup", "inf", "nan", "infh", "nanh", "true", "false", // words that stand for something
		"let", "var", "set", "store", "prefetch", "for", "to", "by", "if", "else", "barrier", "fragment", "load", "put", "multiply", "comment", "about", "stride", "transposed", // statements'
		"kernel", "doc", "schedule", "setting", "field", "pointer", "scalar", "shared", "read", "readwrite", // the head's
		"f32", "u32x4", "boolx2", "as_f32", "i64", "min", "fma", "lane0", "lane", "shuffle_xor1", "vec", "simd_sum", "select", "convert", // operations' and types'
		"e5", "x2", "_", "_1", "A", "u", "l", "h", "1u", "0x1", "1e5", "-1", "-inf", "%thread", "%step.T", "T", "slot", "f", "n", // numbers' and others'
		"", "a b", "a.b", "a-b", "a\n", "a\x00", "é", "a\u200b", "\"", "../a", "a/b", "con", strings.Repeat("n", 200), strings.Repeat("n", 201), strings.Repeat("n", 1<<20),
	}
	numbers = []float64{0, math.Copysign(0, -1), 1, -1, 0.1, float64(float32(0.1)), math.Inf(1), math.Inf(-1), math.NaN(), math.Float64frombits(0x7ff8 << 48), math.Float64frombits(0xfff8 << 48),
		0x1p-149, -0x1p-149, 0x1p-150, math.MaxFloat32, math.MaxFloat64, 1e20, 1e-20, 16777217, 2147483648, 123456789}
	wholes  = []int64{0, 1, 2, -1, math.MaxInt32, math.MinInt32, math.MaxInt32 + 1, math.MinInt32 - 1, math.MaxUint32, math.MaxUint32 + 1, 1<<53 + 1, math.MaxInt64, math.MinInt64}
	remarks = []string{"", " ", `"`, `\`, `\\`, `a\ `, `a\n`, "a\nb", "a\r", "\t", "\x00", "\x7f", "\x85", "\u2028", "*/ /*", "//", "; }", "é 日本", "\xff", "\xe2\x80", "`", "'", "%d %s", strings.Repeat("z", 1<<20), strings.Repeat("\u202e", 9)}
)

// base is a kernel that declares one thing of each kind.
func base() *kernel.Kernel {
	local := func(name string) *kernel.Expr {
		return &kernel.Expr{Op: kernel.OpLocal, Type: kernel.Of(kernel.I32), Name: name}
	}
	return &kernel.Kernel{
		Name: "drawn", Schedule: kernel.Schedule{Threads: 32, SimdWidth: 32}, Step: &kernel.StepLayout{Fields: []kernel.StepField{{Name: "count", Elem: kernel.I32}, {Name: "list", Elem: kernel.I32, Len: 4}}},
		Params: []*kernel.Param{{Name: "p", Pointer: true, Elem: kernel.Of(kernel.I32), Access: kernel.ReadWrite}, {Name: "s", Elem: kernel.Of(kernel.I32)}},
		Shared: []*kernel.Shared{{Name: "m", Elem: kernel.F32, Len: 64}},
		Body: []kernel.Stmt{
			&kernel.Let{Name: "a", Value: &kernel.Expr{Op: kernel.OpScalar, Type: kernel.Of(kernel.I32), Name: "s"}, About: &kernel.Expr{Op: kernel.OpStep, Type: kernel.Of(kernel.I32), Name: "count"}},
			&kernel.Var{Name: "v", Init: &kernel.Expr{Op: kernel.OpLoad, Type: kernel.Of(kernel.I32), Name: "list", Space: kernel.StepBlock, Args: []*kernel.Expr{kernel.I(3)}}},
			&kernel.Fragment{Name: "q", Elem: kernel.F32, Rows: 8, Columns: 8},
			&kernel.For{Name: "i", Lo: local("a"), Hi: local("v"), Step: local("a"), Body: []kernel.Stmt{
				&kernel.Set{Name: "v", Value: local("i").Add(local("a"))},
				&kernel.Store{Space: kernel.Device, Name: "p", Index: local("i"), Value: local("v")},
			}},
			&kernel.If{Cond: local("v").Lt(local("a"))},
			&kernel.FragmentLoad{Name: "q", Space: kernel.Threadgroup, Place: "m", Index: kernel.I(0), Stride: kernel.I(8), Transpose: true},
		},
	}
}

// renamed is base with another name in place of one of its own.
func renamed(from, to string) *kernel.Kernel {
	k := base()
	change := func(name *string) {
		if *name == from {
			*name = to
		}
	}
	about := k.Body[0].(*kernel.Let).About // which Renamed leaves out
	k.Body = kernel.Renamed(k.Body, func(_ kernel.NameKind, name string) string { change(&name); return name })
	change(&about.Name)
	k.Body[0].(*kernel.Let).About = about
	change(&k.Name)
	for i := range k.Step.Fields {
		change(&k.Step.Fields[i].Name)
	}
	for _, p := range k.Params {
		change(&p.Name)
	}
	change(&k.Shared[0].Name)
	return k
}

// agree checks that Verify takes what the text carries and nothing else, and
// reports whether it did.
func agree(t *testing.T, what string, k *kernel.Kernel) bool {
	t.Helper()
	err := kernel.Verify(k)
	again, parseErr := kernel.Parse(kernel.Print(k))
	if carried := parseErr == nil && same(k, again); (err == nil) != carried {
		t.Errorf("%s: verified: %v; read back the same: %t (%v)", what, err, carried, parseErr)
	}
	return err == nil
}

// TestHostileNames: each name in each place.
func TestHostileNames(t *testing.T) {
	if err := kernel.Verify(base()); err != nil {
		t.Fatal(err)
	}
	for _, name := range hostile {
		for _, place := range []string{"drawn", "count", "list", "p", "s", "m", "a", "v", "q", "i"} {
			if place == "i" { // declared and used nowhere, which shows where no use is refused
				for _, unused := range []kernel.Stmt{&kernel.Let{Name: name, Value: kernel.I(1)}, &kernel.Var{Name: name, Init: kernel.I(1)}, &kernel.Fragment{Name: name, Elem: kernel.F32, Rows: 8, Columns: 8}} {
					k := base()
					k.Body = append(k.Body, unused)
					agree(t, fmt.Sprintf("unused %T %.40q", unused, name), k)
				}
			}
			what := fmt.Sprintf("%s called %.40q", place, name)
			if ok := agree(t, what, renamed(place, name)); ok != kernel.IsName(name) {
				t.Errorf("%s: verified: %t", what, ok)
			}
		}
	}
	for name, want := range map[string]bool{"step": false, "infh": false, "set": true, "f32": true, "_1": true, "a.b": false, "": false, strings.Repeat("n", 200): true, strings.Repeat("n", 201): false} {
		if kernel.IsName(name) != want {
			t.Errorf("%.40q is a name: %t", name, !want)
		}
	}
}

// TestHostileConstants: each number as a constant of each type.
func TestHostileConstants(t *testing.T) {
	taken := map[kernel.Scalar]int{}
	constant := func(typ kernel.Type, f float64, n int64) {
		k := base()
		k.Body = []kernel.Stmt{&kernel.Let{Name: "c", Value: &kernel.Expr{Op: kernel.OpConst, Type: typ, Float: f, Int: n}}}
		if agree(t, fmt.Sprintf("constant %v or %d of %s", f, n, typ), k) {
			taken[typ.Scalar]++
		}
	}
	for s := kernel.Bool; s <= kernel.F16+1; s++ {
		for _, f := range numbers {
			constant(kernel.Of(s), f, 0)
		}
		for _, n := range wholes {
			constant(kernel.Of(s), 0, n)
		}
		for lanes := range 6 {
			constant(kernel.Vec(s, lanes), 0, 1)
		}
		constant(kernel.Of(s), 1, 1)
	}
	for s, want := range map[kernel.Scalar]int{kernel.Bool: 4, kernel.I32: 8, kernel.U32: 8, kernel.I64: 15, kernel.U8: 0, kernel.U16: 0} {
		if taken[s] != want {
			t.Errorf("%d constants of %s were taken, expected %d", taken[s], s, want)
		}
	}
}

// TestHostileRemarks: each text as description, comment and setting. The text form
// carries more of them than targets' comments do.
func TestHostileRemarks(t *testing.T) {
	for i, text := range remarks {
		for place := range 5 {
			k := base()
			setting := kernel.Setting{Name: "a", Value: "b", Why: "c"}
			switch place {
			case 0:
				k.Doc = []string{"first", text}
			case 1:
				setting.Name = text
			case 2:
				setting.Value = text
			case 3:
				setting.Why = text
			case 4:
				k.Body = append(k.Body, &kernel.Comment{Text: text})
			}
			k.Schedule.Settings = []kernel.Setting{setting}
			if err := kernel.Verify(k); err != nil {
				continue
			}
			roundTrip(t, k)
			if (strings.ContainsAny(text, "\n\r\x00\u2028") || !utf8.ValidString(text)) || strings.HasSuffix(strings.TrimSpace(text), `\`) {
				t.Errorf("remark %d, %.40q, is taken", i, text)
			}
		}
	}
	k := base()
	k.Body = append(k.Body, &kernel.Comment{Text: `"quoted" \ é */`})
	if err := kernel.Verify(k); err != nil {
		t.Error(err)
	}
}

// TestNotCarried: what has no text, or another's.
func TestNotCarried(t *testing.T) {
	for name, change := range map[string]func(*kernel.Kernel){
		"no step block":        func(k *kernel.Kernel) { k.Step = nil },
		"a long field":         func(k *kernel.Kernel) { k.Step.Fields[1].Len = 1 << 40 },
		"a field of f16":       func(k *kernel.Kernel) { k.Step.Fields[0].Elem = kernel.F16 },
		"a large array":        func(k *kernel.Kernel) { k.Shared[0].Len = 1 << 62 },
		"an array of nothing":  func(k *kernel.Kernel) { k.Shared[0].Elem = 99 },
		"a written scalar":     func(k *kernel.Kernel) { k.Params[1].Access = kernel.Write },
		"an unknown access":    func(k *kernel.Kernel) { k.Params[0].Access = 3 },
		"a pointer of 3 lanes": func(k *kernel.Kernel) { k.Params[0].Elem.Lanes = 3 },
		"a pointer of nothing": func(k *kernel.Kernel) { k.Params[0].Elem.Scalar = 200 },
		"a large fragment":     func(k *kernel.Kernel) { k.Body[2].(*kernel.Fragment).Rows = 1 << 33 },
		"an operand too few": func(k *kernel.Kernel) {
			k.Body[0].(*kernel.Let).Value = &kernel.Expr{Op: kernel.OpAdd, Type: kernel.Of(kernel.I32)}
		},
		"a load of no element": func(k *kernel.Kernel) {
			k.Body[0].(*kernel.Let).Value = &kernel.Expr{Op: kernel.OpLoad, Type: kernel.Of(kernel.I32), Name: "p"}
		},
		"an unknown operation": func(k *kernel.Kernel) {
			k.Body[0].(*kernel.Let).Value = &kernel.Expr{Op: 200, Type: kernel.Of(kernel.I32)}
		},
		"an unknown memory": func(k *kernel.Kernel) { k.Body[1].(*kernel.Var).Init.Space = 7 },
		"an axis 3":         func(k *kernel.Kernel) { k.Body[0].(*kernel.Let).Value = kernel.Group(3) },
		"16 lanes": func(k *kernel.Kernel) {
			k.Body[0].(*kernel.Let).Value = kernel.Vector(kernel.I(1), kernel.I(2), kernel.I(3), kernel.I(4)).As(kernel.U8)
			k.Body[0].(*kernel.Let).Value.Type.Lanes = 16
		},
		"a sum with a name": func(k *kernel.Kernel) {
			k.Body[0].(*kernel.Let).Value.Args = nil
			e := kernel.Thread()
			e.Name = "x"
			k.Body[0].(*kernel.Let).Value = e
		},
		"a thread of 1": func(k *kernel.Kernel) { e := kernel.Thread(); e.Int = 1; k.Body[0].(*kernel.Let).Value = e },
		"a deep expression": func(k *kernel.Kernel) {
			e := kernel.Thread()
			for range 300 {
				e = e.Not()
			}
			k.Body[0].(*kernel.Let).Value = e
		},
		"deep blocks": func(k *kernel.Kernel) {
			for range 300 {
				k.Body = []kernel.Stmt{&kernel.If{Cond: kernel.Thread().Lt(kernel.I(3)), Then: k.Body}}
			}
		},
		"a sum of a million numbers": func(k *kernel.Kernel) {
			e := kernel.Thread()
			for range 40 {
				e = e.Max(e)
			}
			k.Body[0].(*kernel.Let).Value = e
		},
		"much text": func(k *kernel.Kernel) {
			for range 9 {
				k.Body = append(k.Body, &kernel.Comment{Text: strings.Repeat("z", 1<<20)})
			}
		},
	} {
		k := base()
		change(k)
		if err := kernel.Verify(k); err == nil {
			t.Errorf("%s is taken", name)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}

// TestNesting: the deepest that the verifier takes is the deepest that is read.
func TestNesting(t *testing.T) {
	deepest := 0
	for depth := 190; depth < 210; depth++ {
		k := base()
		e := kernel.Thread()
		for range depth {
			e = e.Not()
		}
		k.Body = []kernel.Stmt{&kernel.Let{Name: "c", Value: e}}
		if agree(t, fmt.Sprint(depth, " operands"), k) {
			deepest = depth
		}
		k = base()
		for range depth {
			k.Body = []kernel.Stmt{&kernel.If{Cond: kernel.Group(0).Lt(kernel.I(3)), Then: k.Body}}
		}
		agree(t, fmt.Sprint(depth, " blocks"), k)
	}
	if deepest < 195 || deepest > 200 {
		t.Errorf("the deepest expression has %d operands", deepest)
	}
	// An index in an index is checked once, however deep.
	e := kernel.Thread()
	for range 150 {
		e = &kernel.Expr{Op: kernel.OpLoad, Type: kernel.Of(kernel.I32), Name: "p", Args: []*kernel.Expr{e}}
	}
	k := base()
	k.Body = []kernel.Stmt{&kernel.Let{Name: "c", Value: e}}
	if err := kernel.Verify(k); err != nil {
		t.Fatal(err)
	}
	roundTrip(t, k)
}

// FuzzDrawn: drawn kernels, with a constant and names from the lists above or the
// fuzzer's own, are read back as they were printed.
func FuzzDrawn(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed, hostile[seed%uint64(len(hostile))], remarks[seed%uint64(len(remarks))], numbers[seed%uint64(len(numbers))], wholes[seed%uint64(len(wholes))])
	}
	f.Fuzz(func(t *testing.T, seed uint64, name, remark string, number float64, n int64) {
		r := rand.New(rand.NewPCG(seed, 1))
		k, err := draw.Program(r, []int{4, 8, 16, 32}[seed%4])
		if err != nil {
			return
		}
		roundTrip(t, k)
		k.Doc = []string{remark}
		k.Schedule.Settings = []kernel.Setting{{Name: name, Value: remark, Why: "because"}}
		k.Body = append(k.Body, &kernel.Comment{Text: remark})
		k.Body = append(k.Body, &kernel.Let{Name: "hostile_float", Value: &kernel.Expr{Op: kernel.OpConst, Type: kernel.Of(kernel.F32), Float: number}},
			&kernel.Let{Name: "hostile_half", Value: &kernel.Expr{Op: kernel.OpConst, Type: kernel.Of(kernel.F16), Float: number}},
			&kernel.Let{Name: "hostile_whole", Value: &kernel.Expr{Op: kernel.OpConst, Type: kernel.Of(kernel.Scalar(seed % 9)), Int: n}})
		if kernel.Verify(k) == nil {
			roundTrip(t, k)
		}
		k.Body = k.Body[:len(k.Body)-4]
		own := map[string]bool{}
		kernel.Declared(k.Body, func(name string) { own[name] = true })
		was := pickName(r, own)
		k.Doc, k.Schedule.Settings = nil, nil
		k.Body = kernel.Renamed(k.Body, func(kind kernel.NameKind, s string) string {
			if kind == kernel.LocalName && s == was {
				return name
			}
			return s
		})
		taken := own[name] && name != was || k.Param(name) != nil || name == "shared"
		if err := kernel.Verify(k); (err == nil) != (kernel.IsName(name) && !taken) {
			t.Errorf("%s called %q: %v", was, name, err)
		} else if err == nil {
			roundTrip(t, k)
		} else if again, err := kernel.Parse(kernel.Print(k)); err == nil && same(k, again) {
			t.Errorf("the text carries %q, which is refused", name)
		}
	})
}

// TestEqual: go-cmp and Equal agree on kernels that differ in one place, and on
// drawn ones that were read back.
func TestEqual(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 5 {
		k, err := draw.Program(r, 8)
		if err != nil {
			continue
		}
		text := kernel.Print(k)
		if again, err := kernel.Parse(text); err != nil || !kernel.Equal(k, again) || !cmp.Equal(k, again, exact) {
			t.Fatalf("not equal (%v):\n%s", err, text)
		}
	}
	whole, err := kernel.Parse(kernel.Good)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{"kernel sample", "kernel simple"}, {"a sample", "b sample"}, {"schedule 64 32", "schedule 128 32"}, {`"8 x 8"`, `"8 x 9"`}, {"size\"", "sizes\""},
		{"token i32 16", "token i32 17"}, {"x f32x4 read\n", "x f32x4 readwrite\n"}, {"part f32 2", "part f32 3"}, {"the norm", "a norm"}, {"(row * 16)", "(row * 17)"},
		{"set sum = fma(lane0(v)", "set sum = fma(lane1(v)"}, {"about (%step.T * 2)", "about (%step.T * 3)"}, {" about (%step.T * 2)", ""}, {"barrier device", "barrier"}, {"shuffle_xor1", "shuffle_xor2"},
		{"nan, 2.5", "inf, 2.5"}, {"8 transposed", "8"}, {"prefetch device w", "prefetch device y"}, {"store device z[row]", "store device z[0]"}, {"+ simd_prefix(1)", "- simd_prefix(1)"},
		{"fragment low f32 4 8\n", "fragment low f32 4 8\n  fragment more f32\n"}, {"multiply wide += low * a", "multiply acc += a * a"}, {"load low = threadgroup tile[32]", "load wide = threadgroup tile[32]"},
		{"  put threadgroup tile[0] stride 8 = acc\n", "  put threadgroup tile[0] stride 8 = a\n"}, {"  } else {\n    store device z[row] = max(neg(code), f32(device h[row]))\n", ""}, {"0.0", "-0.0"},
	} {
		if !strings.Contains(kernel.Good, c[0]) {
			t.Fatalf("the sample has no %q", c[0])
		}
		other, err := kernel.Parse(strings.Replace(kernel.Good, c[0], c[1], 1))
		if err != nil {
			t.Fatalf("%q: %v", c[1], err)
		}
		if kernel.Equal(whole, other) || cmp.Equal(whole, other, exact) {
			t.Errorf("%q for %q makes no difference", c[1], c[0])
		}
	}
}

// pickName is one of some names, by chance alone.
func pickName(r *rand.Rand, names map[string]bool) string {
	sorted := slices.Sorted(maps.Keys(names))
	return sorted[r.IntN(len(sorted))]
}
