package cpu

import (
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/models/checkpoint"
)

// TestSoak drives the device as a server does, on all threads and without poison.
func TestSoak(t *testing.T) {
	steps := 600 // under the race detector, with -short, each takes twenty times as long
	switch {
	case sample.Full():
		steps = 2000
	case testing.Short():
		steps = 100
	}
	devicetest.Soak(t, devicetest.Fixture("b-official-fp8fp4"), steps, func(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, _ func(string, []byte)) device.Planned {
		d, err := Open(b, ck, Options{LLVM: openLLVM(t), Cache: jit.UserCache()})
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}
