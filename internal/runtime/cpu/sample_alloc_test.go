//go:build !race

// The race detector allocates by itself.

package cpu

import (
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/runtime/sampling"
)

// TestSampleAllocates: nothing is allocated where only tokens leave a step.
func TestSampleAllocates(t *testing.T) {
	m, err := models.Open(devicetest.Fixture("a-bf16"), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b, _, err := bundle.Compile(bundle.Source{Name: "m", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding}, bundle.Options{Context: 256, Slots: 2})
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(b, m.Checkpoint, Options{LLVM: openLLVM(t), Cache: jit.UserCache()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	rows, wanted, tokens := []ir.Row{{Slot: 0}, {Slot: 1}}, []int{0, 1}, make([]int32, 2)
	choices := []sampling.Choice{{}, sampling.Params{Temperature: 1, TopK: 9, TopP: 0.9}.Choice(1, 2)}
	n := testing.AllocsPerRun(50, func() {
		if err := d.SampleDecode(rows, wanted, choices, tokens); err != nil {
			t.Fatal(err)
		}
		rows[0].Position++
		rows[1].Position++
	})
	if n > 0 {
		t.Errorf("%v allocations a step", n)
	}
}
