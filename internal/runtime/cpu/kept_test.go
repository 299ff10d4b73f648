package cpu

import (
	"errors"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/sample"
	"smelt.example/smelt/models/checkpoint"
)

var _ device.Keeper = (*Device)(nil)

// roomy opens the device with memory for a few texts.
func roomy(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, observe func(string, []byte)) device.Planned {
	t.Helper()
	d, err := Open(b, ck, Options{LLVM: openLLVM(t), Cache: jit.UserCache(), Poison: true, Observe: observe,
		Admit: func(*bundle.Bundle, ...admission.Part) (int64, error) { return devicetest.KeptRoom, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestKept: texts that are longer than all windows and blocks, as long as one, and shorter.
func TestKept(t *testing.T) {
	devicetest.Kept(t, devicetest.Fixture("a-bf16"), devicetest.Trained, 330, 60, roomy)
	for _, length := range sample.Of(t, []int{9, 24, 150}, 1) {
		devicetest.Kept(t, devicetest.Fixture("b-official-fp8fp4"), devicetest.Trained, length, 60, roomy)
	}
}

// TestKeptRefused: nothing is kept without room, and nothing that is not there.
func TestKeptRefused(t *testing.T) {
	b, ck := compiled()
	d := roomy(t, b, ck, nil)
	defer d.Close()
	devicetest.KeptRefused(t, d)
	k := d.(device.Keeper)
	if _, err := d.Prefill(devicetest.Rows(0, 9, 20, d.Vocab()), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := k.KeepFrontier(0, 28); err == nil || err.Error() != "slot 0 has 29 tokens, and no frontier at 28: its rings keep what those from 29 on look back to" {
		t.Error(err)
	}
	none := open(t, b, ck, nil)
	defer none.Close()
	if _, err := none.Prefill(devicetest.Rows(0, 0, 9, d.Vocab()), nil); err != nil {
		t.Fatal(err)
	}
	if p, err := none.(device.Keeper).KeepEntries(0, 0, 9); !errors.Is(err, device.ErrNoRoom) || p != nil {
		t.Errorf("without room %v is kept, %v", p, err)
	}
	if p, err := none.(device.Keeper).KeepFrontier(0, 9); !errors.Is(err, device.ErrNoRoom) || p != nil {
		t.Errorf("without room %v is kept, %v", p, err)
	}
}
