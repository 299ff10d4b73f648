package jit

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
)

// addIR defines NAME(a, b, out, n): out[i] = a[i] + b[i] + i%8, in vectors of 8
// f32; the last term is a constant in memory. n is a multiple of 8.
func addIR(name string) string {
	return `
define void @` + name + `(float* %a, float* %b, float* %out, i64 %n) nounwind {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %pa = getelementptr float, float* %a, i64 %i
  %va = bitcast float* %pa to <8 x float>*
  %x = load <8 x float>, <8 x float>* %va, align 4
  %pb = getelementptr float, float* %b, i64 %i
  %vb = bitcast float* %pb to <8 x float>*
  %y = load <8 x float>, <8 x float>* %vb, align 4
  %xy = fadd <8 x float> %x, %y
  %z = fadd <8 x float> %xy, <float 0.0, float 1.0, float 2.0, float 3.0, float 4.0, float 5.0, float 6.0, float 7.0>
  %po = getelementptr float, float* %out, i64 %i
  %vo = bitcast float* %po to <8 x float>*
  store <8 x float> %z, <8 x float>* %vo, align 4
  %next = add i64 %i, 8
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}
`
}

// wantAdd calls a function of addIR.
func wantAdd(t *testing.T, add uintptr) {
	t.Helper()
	const n = 40
	var a, b, out [n]float32
	for i := range n {
		a[i], b[i] = float32(i), float32(100*i)
	}
	purego.SyscallN(add, uintptr(unsafe.Pointer(&a)), uintptr(unsafe.Pointer(&b)), uintptr(unsafe.Pointer(&out)), n)
	for i := range n {
		if want := float32(101*i + i%8); out[i] != want {
			t.Errorf("out[%d] = %v, want %v", i, out[i], want)
		}
	}
}

func compile(t testing.TB, l *LLVM, ir string) []byte {
	t.Helper()
	object, err := l.Compile("module", ir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// link compiles and links modules and closes the program with the test.
func link(t testing.TB, l *LLVM, modules ...string) *Program {
	t.Helper()
	var objects [][]byte
	for _, ir := range modules {
		objects = append(objects, compile(t, l, ir))
	}
	p, err := l.Link(objects)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func symbol(t testing.TB, p *Program, name string) uintptr {
	t.Helper()
	address, err := p.Symbol(name)
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func TestCall(t *testing.T) {
	l := openLLVM(t)
	t.Logf("LLVM %s at %s, %s", l.Version(), l.Path(), l.Host().CPU)
	p := link(t, l, addIR("first"), addIR("second"))
	wantAdd(t, symbol(t, p, "second"))
	wantAdd(t, symbol(t, p, "first"))
}

// Code calls the C library: memset of a size that is not known.
func TestMemset(t *testing.T) {
	p := link(t, openLLVM(t), `
declare void @llvm.memset.p0i8.i64(i8*, i8, i64, i1)
define void @fill(i8* %to, i64 %n) nounwind {
  call void @llvm.memset.p0i8.i64(i8* %to, i8 7, i64 %n, i1 false)
  ret void
}`)
	memory := make([]byte, 1000)
	purego.SyscallN(symbol(t, p, "fill"), uintptr(unsafe.Pointer(&memory[0])), 900)
	if got := bytes.Count(memory, []byte{7}); got != 900 || memory[900] != 0 {
		t.Errorf("%d bytes are set, want the first 900", got)
	}
}

// What is wrong with IR is an error, and LLVM goes on.
func TestBrokenIR(t *testing.T) {
	l := openLLVM(t)
	for _, c := range []struct {
		name, ir string
		options  Options
		want     string
	}{
		{"empty", "garbage", Options{}, "does not parse: empty:1:1: error: "},
		{"syntax", "define float @f(float %x) {\n  %y = fadd i32 %x, 1.0\n}", Options{}, "does not parse: syntax:2:17: error: "},
		{"order", "define i32 @f() {\n  %x = add i32 %y, 1\n  %y = add i32 %x, 1\n  ret i32 %y\n}", Options{},
			"does not verify: Instruction does not dominate all uses!"},
		{"assembler", `define void @f() { call void asm sideeffect "bogus", ""()
ret void }`, Options{}, "no code: <inline asm>:"},
		{"passes", addIR("f"), Options{Passes: "bogus"}, "passes bogus: "},
		// The code generator has no instruction for it, which LLVM takes for
		// a reason to end the process.
		{"instruction", `
declare <16 x float> @llvm.x86.avx512.vfmadd.ps.512(<16 x float>, <16 x float>, <16 x float>, i32)
define void @f(<16 x float>* %p) {
  %a = load <16 x float>, <16 x float>* %p
  %x = call <16 x float> @llvm.x86.avx512.vfmadd.ps.512(<16 x float> %a, <16 x float> %a, <16 x float> %a, i32 8)
  store <16 x float> %x, <16 x float>* %p
  ret void
}`, Options{CPU: "generic"}, "LLVM"},
	} {
		object, err := l.Compile(c.name, c.ir, c.options)
		wantLine(t, err, "kernel "+c.name+": LLVM "+l.Version()+": ", c.want)
		if object != nil {
			t.Errorf("%s: an object besides the error", c.name)
		}
		wantAdd(t, symbol(t, link(t, l, addIR("add")), "add"))
	}
}

func TestAssembly(t *testing.T) {
	l := openLLVM(t)
	text, err := l.Assembly("add", addIR("add"), Options{})
	if err != nil || !strings.Contains(text, "add:") {
		t.Errorf("no function add: %v\n%s", err, text)
	}
	if runtime.GOARCH != "amd64" {
		return
	}
	for cpu, register := range map[string]string{"x86-64": "%xmm", "haswell": "%ymm"} {
		text, err := l.Assembly("add", addIR("add"), Options{CPU: cpu})
		if err != nil || !strings.Contains(text, register) {
			t.Errorf("%s: %v: no %s in\n%s", cpu, err, register, text)
		}
	}
	text, err = l.Assembly("add", addIR("add"), Options{CPU: "x86-64", Features: "+avx"})
	if err != nil || !strings.Contains(text, "%ymm") {
		t.Errorf("features are not heard: %v\n%s", err, text)
	}
}

// The library's switches are heard, those it does not know change nothing, and no
// switch ends the process: the loop's multiplication is not reduced to additions.
func TestSwitches(t *testing.T) {
	l := openLLVM(t)
	for _, s := range []string{"-no-such-switch", "-disable-lsr=perhaps", "a word"} {
		l.b.setSwitch(s)
	}
	const loop = `
define void @f(i32* %a, i64 %n) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %k = mul i64 %i, 1234567
  %p = getelementptr i32, i32* %a, i64 %k
  store i32 1, i32* %p
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}`
	text, err := l.Assembly("loop", loop, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "mul") && !strings.Contains(text, "madd") {
		t.Errorf("no multiplication in\n%s", text)
	}
}

// The options reach LLVM: a short loop of scalars stays a loop if asked for, and
// becomes vector code only where the passes say so.
func TestOptions(t *testing.T) {
	l := openLLVM(t)
	const loop = `
define void @f(float* noalias %a, float* noalias %b) nounwind {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %pa = getelementptr float, float* %a, i64 %i
  %x = load float, float* %pa
  %y = fmul float %x, %x
  %pb = getelementptr float, float* %b, i64 %i
  store float %y, float* %pb
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, 4
  br i1 %more, label %loop, label %done
done:
  ret void
}`
	multiplies := func(o Options) (scalar, vector int) {
		text, err := l.Assembly("loop", loop, o)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(text, "mulss") + strings.Count(text, "fmul\ts"), strings.Count(text, "mulps") + strings.Count(text, "fmul.4s") + strings.Count(text, ".4s, v")
	}
	if scalar, vector := multiplies(Options{}); scalar != 1 || vector != 0 {
		t.Errorf("by default: %d scalar, %d vector multiplies; want 1 and 0", scalar, vector)
	}
	if scalar, vector := multiplies(Options{Passes: "default<O1>"}); scalar != 4 || vector != 0 {
		t.Errorf("default<O1>: %d scalar, %d vector multiplies; want 4 and 0", scalar, vector)
	}
	if scalar, vector := multiplies(Options{Passes: "default<O1>", NoUnroll: true}); scalar != 1 || vector != 0 {
		t.Errorf("NoUnroll: %d scalar, %d vector multiplies; want 1 and 0", scalar, vector)
	}
	if scalar, vector := multiplies(Options{Passes: "default<O2>"}); scalar != 0 || vector == 0 {
		t.Errorf("default<O2>: %d scalar, %d vector multiplies; want 0 and some", scalar, vector)
	}
	for _, level := range []CodegenLevel{Aggressive, Default, Less, None} {
		object, err := l.Compile("add", addIR("add"), Options{Codegen: level})
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.Link([][]byte{object})
		if err != nil {
			t.Fatal(err)
		}
		wantAdd(t, symbol(t, p, "add"))
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLinkErrors(t *testing.T) {
	l := openLLVM(t)
	add := compile(t, l, addIR("add"))
	_, err := l.Link([][]byte{add, add})
	wantLine(t, err, "object 1", "uplicate definition of symbol", "add")
	_, err = l.Link([][]byte{add, []byte("no object")})
	wantLine(t, err, "object 1", "not recognized")
	_, err = l.Link([][]byte{add, nil})
	wantLine(t, err, "object 1 is empty")

	p := link(t, l, addIR("add"), "declare void @nowhere()\ndefine void @f() {\n  call void @nowhere()\n  ret void\n}")
	_, err = p.Symbol("g")
	wantLine(t, err, "symbol g: ", "not found")
	_, err = p.Symbol("f")
	wantLine(t, err, "symbol f: ", "not found", "nowhere")
	wantAdd(t, symbol(t, p, "add"))

	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	_, err = p.Symbol("add")
	wantLine(t, err, "closed")
}

// Compiling, linking and calling from several goroutines; the same module gives
// the same bytes everywhere.
func TestParallel(t *testing.T) {
	l := openLLVM(t)
	want := compile(t, l, addIR("add"))
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 5 {
				object, err := l.Compile("module", addIR("add"), Options{})
				if err != nil || !bytes.Equal(object, want) {
					t.Errorf("another object of the same module: %v", err)
					return
				}
				if _, err := l.Compile("broken", "garbage", Options{}); err == nil {
					t.Error("no error for garbage")
				}
				p, err := l.Link([][]byte{object})
				if err != nil {
					t.Error(err)
					return
				}
				address, err := p.Symbol("add")
				if err != nil {
					t.Error(err)
					return
				}
				wantAdd(t, address)
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

// Compiling and linking again and again does not take more and more memory. An
// empty LLVM context alone is some 40 KB.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the race detector's memory would be measured")
	}
	l := openLLVM(t)
	round := func() {
		p, err := l.Link([][]byte{compile(t, l, addIR("add"))})
		if err != nil {
			t.Fatal(err)
		}
		symbol(t, p, "add")
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Compile("broken", "garbage", Options{}); err == nil {
			t.Fatal("no error for garbage")
		}
	}
	for range 100 {
		round()
	}
	before := resident(t)
	const rounds = 300
	for range rounds {
		round()
	}
	grown := resident(t) - before
	t.Logf("%d rounds took %d KB more", rounds, grown>>10)
	if grown > rounds*16<<10 {
		t.Errorf("%d rounds took %d KB more, want at most 16 KB each", rounds, grown>>10)
	}
}

// resident is the process's resident memory in bytes.
func resident(t *testing.T) int {
	t.Helper()
	runtime.GC()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skipf("did not run: resident memory is read from Linux's /proc: %v", err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
