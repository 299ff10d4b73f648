package admission

import (
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/models"
)

// TestReads: a token reads of the weights what the plan's costs say, of experts those
// that it goes to, and no more of anything than there is.
func TestReads(t *testing.T) {
	m, err := models.Open(devicetest.Fixture("b-official-fp8fp4"), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b, _, err := bundle.Compile(bundle.SourceOf(m), bundle.Options{Lean: true, Context: 64, Chunk: 16})
	if err != nil {
		t.Fatal(err)
	}
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
