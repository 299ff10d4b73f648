package halves

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/kernel/interp"
	"smelt.example/smelt/internal/codegen/target"
)

// run runs the kernel in the interpreter.
func run(t *testing.T, on target.Target) []byte {
	t.Helper()
	k, groups, err := Kernel(on)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 4*Codes)
	for i := range out {
		out[i] = 0x7b // what is not written shows
	}
	err = interp.Run(k, interp.Launch{Grid: [3]int{int(groups), 1, 1}, Buffers: map[string][]byte{"x": Words(), "y": out}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestExact: the kernel converts every half, in threadgroups of any size, and what
// differs in one code is found.
func TestExact(t *testing.T) {
	small, err := target.GPU.WithThreads(64)
	if err != nil {
		t.Fatal(err)
	}
	for _, on := range []target.Target{target.GPU, target.CUDA, small} {
		out := run(t, on)
		if err := Judge(out); err != nil {
			t.Errorf("%s: %v", on, err)
		}
		for _, code := range []int{1, 0x3ff, 0x400, 0x3c00, 0x7c00, 0x8000, 0xfbff} {
			bad := append([]byte{}, out...)
			bad[4*code] ^= 1
			if err := Judge(bad); err == nil || !strings.Contains(err.Error(), "1 of 65536") {
				t.Errorf("code %#x off by a bit: %v", code, err)
			}
		}
	}
}

// TestFlushed: a machine that makes zeros of subnormal halves is told from one that
// keeps them, and NaNs of other bits are no fault.
func TestFlushed(t *testing.T) {
	out := run(t, target.GPU)
	binary.LittleEndian.PutUint32(out[4*0x7e01:], math.Float32bits(float32(math.NaN())))
	if err := Judge(out); err != nil {
		t.Error(err)
	}
	for code := range Codes {
		if code&0x7c00 == 0 {
			binary.LittleEndian.PutUint32(out[4*code:], uint32(code)>>15<<31)
		}
	}
	if err := Judge(out); err == nil || !strings.Contains(err.Error(), "2046 of 65536 halves become another float32 (0x0001 is 0, should be 5.9604645e-08)") {
		t.Error(err)
	}
	if err := Judge(out[:8]); err == nil {
		t.Error("two codes are taken for all")
	}
}
