package llvm

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
	"golang.org/x/tools/txtar"

	"smelt.example/smelt/internal/codegen/kernel"
)

var update = flag.Bool("update", false, "write the goldens anew")

// TestGoldens prints small kernels that each show one thing. What the text does
// is tested by running it (internal/runtime/cpu).

func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil || len(a.Files) < 1 {
				t.Fatalf("%s: %v", path, err)
			}
			k, err := kernel.Parse(string(a.Files[0].Data))
			if err != nil {
				t.Fatal(err)
			}
			if err := kernel.Verify(k); err != nil {
				t.Fatal(err)
			}
			got, err := Module(k, 8)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				a.Files = append(a.Files[:1], txtar.File{Name: "kernel.ll", Data: []byte(got)})
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(a.Files) != 2 {
				t.Fatalf("%s has no kernel.ll; go test -update", path)
			}
			if diff := cmp.Diff(string(a.Files[1].Data), got); diff != "" {
				t.Errorf("-golden +printed\n%s", diff)
			}
		})
	}
}

// The text is the library's, which knows every instruction.
func TestLibrarysText(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, path := range files {
		a, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		k, err := kernel.Parse(string(a.Files[0].Data))
		if err != nil {
			t.Fatal(err)
		}
		f := newFunction(k, 8)
		if err := f.define(); err != nil {
			t.Fatal(err)
		}
		got, err := textOf(f.module, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f.module.String(), got); diff != "" {
			t.Errorf("%s: -library +here\n%s", path, diff)
		}
	}
}

// So is that of each kind of instruction, those that no golden has among them.
func TestLibrarysInstructions(t *testing.T) {
	m := ir.NewModule()
	i4, f4 := types.NewVector(4, types.I32), types.NewVector(4, types.Float)
	a, b := ir.NewParam("a", i4), ir.NewParam("b", i4)
	x, y := ir.NewParam("x", f4), ir.NewParam("y", f4)
	p, q := ir.NewParam("p", types.I32Ptr), ir.NewParam("q", types.I1)
	called := m.NewFunc("called", types.Void, ir.NewParam("", types.I32))
	fn := m.NewFunc("all", types.Void, a, b, x, y, p, q)
	entry, other, end := fn.NewBlock("entry"), fn.NewBlock("other.1"), fn.NewBlock("end")
	for _, binary := range []func(x, y value.Value) value.Named{
		named(entry.NewAdd), named(entry.NewSub), named(entry.NewMul), named(entry.NewUDiv), named(entry.NewURem),
		named(entry.NewSDiv), named(entry.NewSRem), named(entry.NewShl), named(entry.NewLShr), named(entry.NewAShr),
		named(entry.NewAnd), named(entry.NewOr), named(entry.NewXor),
	} {
		binary(a, b)
	}
	for _, binary := range []func(x, y value.Value) value.Named{
		named(entry.NewFAdd), named(entry.NewFSub), named(entry.NewFMul), named(entry.NewFDiv),
	} {
		binary(x, fill(f4, floatConst(types.Float, 0.1)))
	}
	entry.NewFNeg(x)
	entry.NewSelect(entry.NewICmp(enum.IPredULE, a, b), a, b)
	entry.NewSelect(entry.NewFCmp(enum.FPredOLT, x, y), x, y)
	entry.NewBitCast(x, i4)
	entry.NewTrunc(entry.NewSExt(a, types.NewVector(4, types.I64)), types.NewVector(4, types.I8))
	entry.NewZExt(a, types.NewVector(4, types.I64))
	entry.NewFPTrunc(entry.NewFPExt(x, types.NewVector(4, types.Double)), f4)
	entry.NewSIToFP(entry.NewFPToSI(x, i4), f4)
	entry.NewUIToFP(entry.NewFPToUI(x, i4), f4)
	entry.NewShuffleVector(x, y, numbers([]int{0, 5, 2, 7}))
	entry.NewInsertElement(x, entry.NewExtractElement(y, i32Const(1)), i32Const(0))
	at := entry.NewGetElementPtr(types.I32, p, i32Const(3))
	load := entry.NewLoad(types.I32, at)
	load.Align = 4
	entry.NewStore(load, entry.NewAlloca(types.I32))
	entry.NewCall(called, load)
	entry.NewCondBr(q, other, end)
	other.NewBr(end)
	end.NewPhi(ir.NewIncoming(load, entry), ir.NewIncoming(i32Const(-1), other))
	end.NewRet(nil)
	got, err := textOf(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.String(), got); diff != "" {
		t.Errorf("-library +here\n%s", diff)
	}
}

// named is a constructor of an instruction with two operands.
func named[T value.Named](make func(x, y value.Value) T) func(x, y value.Value) value.Named {
	return func(x, y value.Value) value.Named { return make(x, y) }
}

func TestTwice(t *testing.T) {
	a, err := txtar.ParseFile("testdata/row.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var texts [2]string
	for i := range texts {
		k, err := kernel.Parse(string(a.Files[0].Data))
		if err != nil {
			t.Fatal(err)
		}
		if texts[i], err = Module(k, 8); err != nil {
			t.Fatal(err)
		}
	}
	if texts[0] != texts[1] {
		t.Error("the same kernel gives two texts")
	}
}

func TestRefused(t *testing.T) {
	kernelOf := func(threads, simd int, body func(b *kernel.Builder)) *kernel.Kernel {
		b := kernel.New("k", &kernel.StepLayout{}, kernel.Schedule{Threads: threads, SimdWidth: simd})
		b.Pointer("y", kernel.Of(kernel.F32), kernel.Write)
		body(b)
		k, err := b.Kernel()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	nothing := func(*kernel.Builder) {}
	for name, c := range map[string]struct {
		k    *kernel.Kernel
		want string
	}{
		"several SIMD groups": {kernelOf(64, 32, nothing), "kernel k: threadgroups of 64 threads in SIMD groups of 32"},
		"half fragments":      {kernelOf(8, 8, func(b *kernel.Builder) { b.Fragment("a", kernel.F16, 8, 8) }), "kernel k: fragment a of f16"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Module(c.k, 8); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, expected one with %q", err, c.want)
			}
		})
	}
}

func TestSharedBytes(t *testing.T) {
	k := &kernel.Kernel{Shared: []*kernel.Shared{{Name: "a", Elem: kernel.F32, Len: 3}, {Name: "b", Elem: kernel.F32, Len: 17}}}
	if n := SharedBytes(k); n != 64+128 {
		t.Errorf("%d bytes, expected each array on cache lines of its own: 192", n)
	}
}
