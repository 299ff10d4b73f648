package plan

import (
	"testing"

	"smelt.example/smelt/internal/codegen/program"
)

// TestRowsOfSteps: command buffers are cut for as many rows as a decode step of the
// bundle gets. cmd/smelt's TestFiguresOfFlash counts those of a whole model.
func TestRowsOfSteps(t *testing.T) {
	for _, c := range []struct{ slots, wanted, chunk, decode int }{
		{1, 16, 32, 1}, {16, 1, 32, 1}, {4, 16, 8, 4}, {16, 16, 512, 16}, {64, 64, 512, 16}, {3, 2, 1, 2},
	} {
		p := &Plan{Options: Options{Slots: c.slots, Wanted: c.wanted, Chunk: c.chunk}}
		decode, prefill := p.rows(&Step{Phase: program.Decode, MaxRows: program.MaxDecodeRows}), p.rows(&Step{Phase: program.Prefill, MaxRows: c.chunk})
		if decode != c.decode || prefill != c.chunk {
			t.Errorf("%d slots, %d wanted: %d rows of decode and %d of prefill; expected %d and %d", c.slots, c.wanted, decode, prefill, c.decode, c.chunk)
		}
	}
}
