package llvm

import (
	"encoding/binary"
	"slices"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
)

// stepKernel reads two of its step block's three fields; rows is the length of
// the array before the last.
func stepKernel(t *testing.T, name string, rows int, factor float64) *kernel.Kernel {
	t.Helper()
	step := &kernel.StepLayout{Fields: []kernel.StepField{
		{Name: "T", Elem: kernel.I32}, {Name: "unused", Elem: kernel.I32, Len: rows}, {Name: "slot", Elem: kernel.I32, Len: rows},
	}}
	b := kernel.New(name, step, kernel.Schedule{Threads: 4, SimdWidth: 4})
	b.Pointer("y", kernel.Of(kernel.F32), kernel.Write)
	k, err := b.Kernel()
	if err != nil {
		t.Fatal(err)
	}
	of := func(n int64) *kernel.Expr {
		return &kernel.Expr{Op: kernel.OpConst, Type: kernel.Of(kernel.I32), Int: n}
	}
	slot := &kernel.Expr{Op: kernel.OpLoad, Type: kernel.Of(kernel.I32), Args: []*kernel.Expr{of(0)}, Name: "slot", Space: kernel.StepBlock}
	k.Body = []kernel.Stmt{&kernel.If{
		Cond: &kernel.Expr{Op: kernel.OpLt, Type: kernel.Of(kernel.Bool), Args: []*kernel.Expr{slot, {Op: kernel.OpStep, Type: kernel.Of(kernel.I32), Name: "T"}}},
		Then: []kernel.Stmt{&kernel.Store{Space: kernel.Device, Name: "y", Index: of(0), Value: &kernel.Expr{Op: kernel.OpConst, Type: kernel.Of(kernel.F32), Float: factor}}},
	}}
	if err := kernel.Verify(k); err != nil {
		t.Fatal(err)
	}
	return k
}

func TestCanonical(t *testing.T) {
	decode, prefill := stepKernel(t, "decode", 16, 1), stepKernel(t, "prefill", 512, 1)
	decode.Doc = []string{"of one row"}
	a, b := Canonical(decode, 8), Canonical(prefill, 8)
	if a.Name != b.Name {
		t.Error("kernels that differ in names and the step block's lengths have two functions")
	}
	if c := Canonical(stepKernel(t, "decode", 16, 2), 8); c.Name == a.Name {
		t.Error("kernels that compute different things have one function")
	}
	texts := [2]string{}
	for i, k := range []*kernel.Kernel{a, b} {
		var err error
		if texts[i], err = Module(k, 8); err != nil {
			t.Fatal(err)
		}
	}
	if texts[0] != texts[1] {
		t.Errorf("one name for two texts:\n%s\n%s", texts[0], texts[1])
	}
}

func TestStepTable(t *testing.T) {
	var got []uint64
	for table := StepTable(stepKernel(t, "k", 16, 1), 1000); len(table) > 0; table = table[8:] {
		got = append(got, binary.LittleEndian.Uint64(table))
	}
	if want := []uint64{1000, 1000 + 4 + 64}; !slices.Equal(got, want) {
		t.Errorf("fields at %d, expected %d", got, want)
	}
}
