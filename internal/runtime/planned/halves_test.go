package planned_test

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/halves"
	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/kernel/interp"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/runtime/planned"
)

// TestHalves: the bundle stays as it is where a machine converts halves exactly, is
// planned without them where it does not, and a machine that fails is an error.
func TestHalves(t *testing.T) {
	b, _ := fixture(t)
	b, err := b.For(target.CUDA)
	if err != nil {
		t.Fatal(err)
	}
	exact := func(k *kernel.Kernel, groups int64, words []byte) ([]byte, error) {
		out := make([]byte, 2*len(words))
		return out, interp.Run(k, interp.Launch{Grid: [3]int{int(groups), 1, 1}, Buffers: map[string][]byte{"x": words, "y": out}})
	}
	flushing := func(k *kernel.Kernel, groups int64, words []byte) ([]byte, error) {
		out, err := exact(k, groups, words)
		for code := range halves.Codes {
			if x := math.Float32frombits(binary.LittleEndian.Uint32(out[4*code:])); x > 0 && x < 0x1p-14 {
				clear(out[4*code : 4*code+4])
			}
		}
		return out, err
	}
	same, note, err := planned.Halves(b, exact)
	if err != nil || same != b || !strings.Contains(note, "all halves") {
		t.Errorf("exact: %v, planned anew %v, %q", err, same != b, note)
	}
	other, note, err := planned.Halves(b, flushing)
	if err != nil || other.Plan.Target != target.CUDA.WithoutHalves() || !strings.Contains(note, "planned again") || !strings.Contains(note, "1023 of 65536") {
		t.Fatalf("flushed: %v, %q", err, note)
	}
	if again, note, err := planned.Halves(other, nil); err != nil || again != other || !strings.Contains(note, "planned so") {
		t.Errorf("without: %v, planned anew %v, %q", err, again != other, note)
	}
	broken := errors.New("the card failed")
	if _, _, err := planned.Halves(b, func(*kernel.Kernel, int64, []byte) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
}
