package cuda

import (
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/cuda/driver"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/models/checkpoint"
)

var _ device.Keeper = (*Device)(nil)

// roomy opens the device with memory for a few texts.
func roomy(o Options) devicetest.Open {
	return func(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, _ func(string, []byte)) device.Planned {
		t.Helper()
		o.Kept = devicetest.KeptRoom
		return opened(t, b, ck, o)
	}
}

// TestKept: copies lie in order between the steps around them, and before what is read.
func TestKept(t *testing.T) {
	needCard(t)
	for _, poison := range []bool{false, true} {
		devicetest.Kept(t, devicetest.Fixture("a-bf16"), devicetest.Trained, 330, 300, roomy(Options{Poison: poison}))
	}
	for _, length := range []int{9, 24, 150} {
		devicetest.Kept(t, devicetest.Fixture("b-official-fp8fp4"), devicetest.Trained, length, 100, roomy(Options{}))
	}
}

// BenchmarkKept keeps and restores texts of V4-Flash on the card.
func BenchmarkKept(b *testing.B) {
	if err := Here(); err != nil {
		b.Skip(err)
	}
	api, err := driver.Open()
	if err != nil {
		b.Fatal(err)
	}
	m := &machine{api: api}
	if m.card, err = choose(api, 0); err != nil {
		b.Fatal(err)
	}
	if m.context, err = api.Retain(m.card); err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			b.Error(err)
		}
	}()
	if err := m.do(func() error {
		if m.copies, err = api.NewApartStream(); err == nil {
			m.landing, err = m.host(landing)
		}
		return err
	}); err != nil {
		b.Fatal(err)
	}
	devicetest.KeptSpeed(b, m)
}
