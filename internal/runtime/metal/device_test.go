package metal

import (
	"math"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/metal/fake"
	"smelt.example/smelt/ir"
)

// TestGoldens runs the beginning of a recorded prompt end to end through the Metal
// runtime, prefill and then decode: the fake executes the very text that a Mac
// would compile. Once with macOS 15's residency sets, once before, with pipelines
// that allow few threads; its file needs two views.
func TestGoldens(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the stand-in takes some seconds")
	}
	for _, c := range []struct {
		fixture string
		o       fake.Options
	}{
		{"a-bf16", fake.Options{Residency: true}},
		{"b-official-fp8fp4", fake.Options{MaxBuffer: 2400 << 10, MaxThreads: map[string]int{"attn_hyper_read_decode": 64}}},
	} {
		t.Run(c.fixture, func(t *testing.T) {
			t.Parallel()
			dir := devicetest.Fixture(c.fixture)
			p := devicetest.New(t, dir, devicetest.Float32, bundle.Options{Context: 512, Chunk: 8, Wanted: 8, Slots: 2}, open(c.o))
			tokens := devicetest.Tokens(devicetest.Golden(t, dir, "p1.input_ids"))
			got := p.Feed(false, 1, 0, tokens[:9]) // two chunks
			got = append(got, p.Feed(true, 1, 9, tokens[9:13])...)
			p.Report()
			if !p.Clean() {
				return // the recorded logits follow the reference's choices
			}
			recorded := devicetest.Golden(t, dir, "p1.logits")
			for i, g := range got {
				if w := math.Float32frombits(recorded[i]); !(math.Abs(float64(g)-float64(w)) <= devicetest.Limit) {
					t.Fatalf("logit %d is %v, recorded %v", i, g, w)
				}
			}
		})
	}
}

// TestStoryteller runs the trained model, prefill and decode, and compares logits
// with the evaluator's.
func TestStoryteller(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the stand-in takes some seconds")
	}
	t.Parallel()
	p := devicetest.New(t, "../../../examples/storyteller/checkpoint", devicetest.Float32, bundle.Options{Context: 64, Chunk: 16}, open(fake.Options{Residency: true}))
	p.Step(false, []ir.Row{{Token: 3}, {Token: 70, Position: 1}, {Token: 200, Position: 2}, {Token: 31, Position: 3}, {Token: 44, Position: 4}}, []int{2, 4})
	p.Step(true, []ir.Row{{Token: 9, Position: 5}}, []int{0})
	p.Step(true, []ir.Row{{Token: 17, Position: 6}}, []int{0})
	p.Report()
}
