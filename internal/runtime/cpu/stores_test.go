package cpu

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/kernel/interp"
	"smelt.example/smelt/internal/runtime/planned"
)

// TestOneLanesVector: lanes store the vector of one of them, side by side but not
// in their order. Where LLVM 19 may merge such stores it ends the process.
func TestOneLanesVector(t *testing.T) {
	l := openLLVM(t)
	const lanes = 32
	for _, from := range []int{0, 5, 22} {
		b := kernel.New("one_lanes_vector", &kernel.StepLayout{}, kernel.Schedule{Threads: lanes, SimdWidth: lanes})
		quad := kernel.Vec(kernel.F32, 4)
		x, y := b.Pointer("x", quad, kernel.Read), b.Pointer("y", quad, kernel.Write)
		v := b.Let("v", x.At(kernel.Lane()).Shuffle(kernel.I(from)))
		y.Set(kernel.Lane().Xor(kernel.I(3)), v)
		k, err := b.Kernel()
		if err != nil {
			t.Fatal(err)
		}
		launch := interp.Launch{Buffers: map[string][]byte{"y": bytes.Repeat([]byte{planned.PoisonByte}, 16*lanes)}, Grid: [3]int{1, 1, 1}}
		for n := range 4 * lanes {
			launch.Buffers["x"] = binary.LittleEndian.AppendUint32(launch.Buffers["x"], math.Float32bits(float32(n)))
		}
		want := interp.Launch{Buffers: map[string][]byte{"x": launch.Buffers["x"], "y": bytes.Clone(launch.Buffers["y"])}, Grid: launch.Grid}
		if err := interp.Run(k, want); err != nil {
			t.Fatal(err)
		}
		for _, register := range []int{4, 8, 16} {
			if got := runFor(t, l, k, register, launch)["y"]; !bytes.Equal(got, want.Buffers["y"]) {
				t.Errorf("vector of lane %d, registers of %d: %x, the interpreter has %x", from, register, got, want.Buffers["y"])
			}
		}
	}
}
