package msl_test

import (
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/msl"
)

// printedKernel prints a kernel of one SIMD group that body fills.
func printedKernel(t *testing.T, body func(b *kernel.Builder)) (string, error) {
	t.Helper()
	layout := &kernel.StepLayout{Fields: []kernel.StepField{{Name: "n", Elem: kernel.I32}, {Name: "at", Elem: kernel.I32, Len: 4}}}
	b := kernel.New("probe", layout, kernel.Schedule{Threads: 32, SimdWidth: 32})
	body(b)
	return msl.Print(built(t, b))
}

// wants checks that text has each of the wanted parts, in order.
func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Fatalf("lacks %q (after the parts before it):\n%s", part, text)
		}
		rest = after
	}
}

func TestReservedNames(t *testing.T) {
	text, err := printedKernel(t, func(b *kernel.Builder) {
		x := b.Pointer("half", kernel.Of(kernel.F32), kernel.ReadWrite)
		tile := b.SharedArray("float4", kernel.F32, 32)
		b.Let("tid_", i32(1)) // takes the name that tid would get
		v := b.Let("tid", x.At(kernel.Thread()))
		tile.Set(kernel.Thread(), v)
		sum := b.Var("fma", v)
		b.For("for", i32(0), i32(4), i32(2), func(i *kernel.Expr) { sum.Set(sum.Fma(v, tile.At(i))) })
		x.Set(i32(0), sum.Expr)
	})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, text, "device float *half_;", "threadgroup float float4_[32];", "const int tid = int(thread_index);",
		"device float *half_ = args.half_;", "const int tid_ = 1;", "const float tid_2 = half_[tid];", "float4_[tid] = tid_2;",
		"float fma_ = tid_2;", "for (int for_ = 0; for_ < 4; for_ += 2) {", "fma_ = fma(fma_, tid_2, float4_[for_]);", "half_[0] = fma_;")
}

// Only what a kernel uses is declared.
func TestUnusedInterface(t *testing.T) {
	text, err := printedKernel(t, func(b *kernel.Builder) {
		b.Pointer("unread", kernel.Of(kernel.F32), kernel.Read)
		y := b.Pointer("y", kernel.Of(kernel.I32), kernel.Write)
		y.Set(i32(0), b.StepValue("n"))
	})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, text, "struct Args {\n\tdevice const float *unread;\n\tdevice int *y;\n};", "struct Step {\n\tint n;\n};",
		"void probe(\n\tconstant Args &args [[buffer(0)]],\n\tconstant Step &step [[buffer(1)]])\n{\n\tdevice int *y = args.y;\n\n\ty[0] = step.n;\n}\n")
}

// A step block is in the constant address space as far as that reaches; what the kernel
// does not read does not count.
func TestStepSpace(t *testing.T) {
	const kilobyte = 256 // elements
	for _, c := range []struct {
		first, second int // elements of two arrays
		read          string
		space         string
	}{
		{1, 0, "first", "constant"},
		{64 * kilobyte, 0, "first", "constant"},
		{64*kilobyte + 1, 0, "first", "device const"},
		{8, 320 * kilobyte, "first", "constant"},
		{8, 320 * kilobyte, "second", "device const"},
		{320 * kilobyte, 0, "second", "device const"},
	} {
		layout := &kernel.StepLayout{Fields: []kernel.StepField{{Name: "first", Elem: kernel.I32, Len: c.first}, {Name: "second", Elem: kernel.F32, Len: c.second}}}
		b := kernel.New("probe", layout, kernel.Schedule{Threads: 32, SimdWidth: 32})
		y := b.Pointer("y", kernel.Of(kernel.I32), kernel.Write)
		switch {
		case c.read == "first" || c.second > 0:
			y.Set(i32(0), b.StepAt(c.read, i32(0)).As(kernel.I32))
		default:
			y.Set(i32(0), b.StepValue(c.read).As(kernel.I32))
		}
		text, err := msl.Print(built(t, b))
		if err != nil {
			t.Fatal(err)
		}
		wants(t, text, "struct Step {", "\t"+c.space+" Step &step [[buffer(1)]])")
		if got := strings.Contains(text, "// In device memory: "); got != (c.space == "device const") {
			t.Errorf("%+v: a reason stands there: %v", c, got)
		}
	}
}

// A loop's bound has its value from before the loop.
func TestLoopBounds(t *testing.T) {
	text, err := printedKernel(t, func(b *kernel.Builder) {
		y := b.Pointer("y", kernel.Of(kernel.I32), kernel.ReadWrite)
		left := b.Var("left", i32(8))
		stay := b.Var("stay", i32(8))
		b.For("i", i32(0), left.Expr, i32(1), func(i *kernel.Expr) {
			b.If(i.Gt(i32(2)), func() { left.Set(left.Sub(i32(1))) }, nil)
		})
		b.For("j", i32(0), b.StepAt("at", i32(1)), i32(1), func(j *kernel.Expr) { y.Set(j, stay.Expr) })
		b.For("k", i32(0), stay.Add(i32(1)), b.StepValue("n"), func(k *kernel.Expr) { y.Set(k, k) })
	})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, text, "const int i_end = left;", "for (int i = 0; i < i_end; i++) {", "left -= 1;",
		"const int j_end = step.at[1];", "for (int j = 0; j < j_end; j++) {", "for (int k = 0; k < stay + 1; k += step.n) {")
}

func TestStatements(t *testing.T) {
	text, err := printedKernel(t, func(b *kernel.Builder) {
		y := b.Pointer("y", kernel.Of(kernel.F32), kernel.ReadWrite)
		s := b.SharedArray("s", kernel.F16, 64)
		b.Comment("first")
		v := b.Var("v", y.At(i32(0)))
		b.Comment("two")
		b.Comment("lines")
		v.Set(v.Mul(f32(2)))
		v.Set(f32(1).Sub(v.Expr))
		b.DeviceBarrier()
		m := b.Fragment("m", kernel.F16, 8, 8)
		b.Fragment("d", kernel.F32, 8, 8).Accumulate(m, m)
		m.Store(s, i32(0), b.StepValue("n"))
		y.Set(i32(1), v.Expr)
	})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, text, "\t// first\n\tfloat v = y[0];\n\n\t// two\n\t// lines\n\tv *= 2.0f;\n\tv = 1.0f - v;\n",
		"threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device);\n",
		"simdgroup_half8x8 m = make_filled_simdgroup_matrix<half, 8>(half(0.0f));\n",
		"simdgroup_multiply_accumulate(d, m, m, d);\n", "simdgroup_store(m, s, step.n);\n")
}

func TestLongLines(t *testing.T) {
	text, err := printedKernel(t, func(b *kernel.Builder) {
		y := b.Pointer("a_rather_long_name_for_a_buffer", kernel.Of(kernel.F32), kernel.ReadWrite)
		sum := f32(0)
		for i := range 12 {
			sum = y.At(i32(2*i)).Fma(y.At(i32(2*i+1)), sum)
		}
		b.Comment("%s", strings.Repeat("word ", 50))
		y.Set(i32(0), sum)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(text, "\n") {
		if len(line) > 110 {
			t.Errorf("%d characters: %s", len(line), line)
		}
	}
	joined := strings.Join(strings.Fields(text), " ")
	if n := strings.Count(joined, "word"); n != 50 {
		t.Errorf("%d of 50 words of the comment are left", n)
	}
	wants(t, joined, "= fma(a_rather_long_name_for_a_buffer[22], a_rather_long_name_for_a_buffer[23], fma(")
}

// What MSL has no words for is an error that names the kernel.
func TestUnprintable(t *testing.T) {
	k := func(body ...kernel.Stmt) *kernel.Kernel {
		return &kernel.Kernel{Name: "probe", Step: &kernel.StepLayout{}, Schedule: kernel.Schedule{Threads: 32, SimdWidth: 32}, Body: body}
	}
	named := k()
	named.Name = "half"
	dotted := k()
	dotted.Name = "layers.0"
	tests := []struct {
		k    *kernel.Kernel
		want string
	}{
		{named, "kernel half: the name cannot be"},
		{dotted, "not a name"},
		{k(&kernel.Let{Name: "a", Value: kernel.C(kernel.I64, 1).SimdSum()}), "takes f32, i32 or u32"},
		{k(&kernel.Fragment{Name: "wide", Elem: kernel.F32, Rows: 4, Columns: 64}), "fragment wide of f32, 4 x 64: MSL has 8x8"},
		{k(&kernel.Comment{Text: `ends in \`}), "backslash"},
	}
	for _, test := range tests {
		_, err := msl.Print(test.k)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.k.Name) {
			t.Errorf("got %v, want %q", err, test.want)
		}
	}
}
