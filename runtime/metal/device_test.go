package metal

import (
	"testing"

	"smelt/runtime/agreement"
	"smelt/runtime/metal/fake"
)

// TestGoldens runs recorded prompts end to end through the Metal runtime: the
// fake executes the very text that a Mac would compile. Once with macOS 15's
// residency sets, once before, with pipelines that allow few threads; its file
// needs two views.
func TestGoldens(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the stand-in takes half a minute")
	}
	for _, c := range []struct {
		fixture string
		o       fake.Options
	}{
		{"a-bf16", fake.Options{Residency: true}},
		{"b-official-fp8fp4", fake.Options{MaxBuffer: 2400 << 10, MaxThreads: map[string]int{"head_decode": 64}}},
	} {
		t.Run(c.fixture, func(t *testing.T) {
			t.Parallel()
			agreement.Goldens(t, agreement.Fixture(c.fixture), []string{"p0"}, open(c.o))
		})
	}
}
