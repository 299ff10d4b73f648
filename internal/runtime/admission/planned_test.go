package admission

import (
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/models"
)

// fixture is an open model and a bundle of it.
func fixture(t *testing.T, o bundle.Options) (*models.Model, *bundle.Bundle) {
	t.Helper()
	m, err := models.Open(devicetest.Fixture("b-official-fp8fp4"), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() }) // only read
	b, _, err := bundle.Compile(bundle.SourceOf(m), o)
	if err != nil {
		t.Fatal(err)
	}
	return m, b
}

// TestLess: what is advised is possible. Where the device's own parts leave no room, no
// size is.
func TestLess(t *testing.T) {
	m, b := fixture(t, bundle.Options{Lean: true, Context: 512, Chunk: 16, Slots: 4})
	const own = 1 << 20
	n, err := Planned("cpu", b, m.Checkpoint, false, Part{"machine code", own})
	if err != nil {
		t.Fatal(err)
	}
	sized := b.Memory().Caches + b.Memory().Arena + b.Memory().Steps
	fixed := n.Own() - sized
	if fixed < own {
		t.Fatalf("%d bytes that sizes do not change", fixed)
	}
	twoSlots := sized - b.Memory().Caches/2
	for limit, want := range map[int64]string{
		0: "no smaller sizes", 1 << 10: "no smaller sizes", fixed: "no smaller sizes", fixed + 1: "a smaller Chunk than 16", fixed + twoSlots: "take Slots 2", fixed + twoSlots - 1: "take Slots 1",
	} {
		if err := n.Less(limit); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with %d bytes of %d: %v, want %q", limit, n.Own(), err, want)
		}
	}
}

// TestReads: a token reads of the weights what the plan's costs say, of experts those
// that it goes to, and no more of anything than there is.
func TestReads(t *testing.T) {
	_, b := fixture(t, bundle.Options{Lean: true, Context: 64, Chunk: 16})
	reads, err := Reads(b)
	if err != nil {
		t.Fatal(err)
	}
	s := b.Plan.Step(program.Decode)
	costs, err := s.Costs(s.Symbols(64, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	var want, got, of int64
	for _, c := range costs {
		want += c.Weights
	}
	partly := 0
	for _, r := range reads {
		got, of = got+r.Bytes, of+r.Of
		if r.Bytes < r.Of {
			partly++
		}
		if r.Bytes < 1 || r.Bytes > r.Of {
			t.Errorf("%d bytes of %d", r.Bytes, r.Of)
		}
	}
	if got != want || of > Weights(b) || of < Weights(b)*9/10 {
		t.Errorf("%d bytes of %d; costs say %d, and the weights are %d", got, of, want, Weights(b))
	}
	if partly < 3 {
		t.Errorf("of %d parameters a part is read; expected those of experts, and the embedding", partly)
	}
}
