package devicetest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/models/synthetic"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/lockstep"
	"smelt.example/smelt/ir"
)

// WideLayers are layers of V4-Flash of every kind, by their numbers: attention to the
// window alone, to all of 128 tokens as one, and to chosen ones of 4; experts by the
// token and by scores.
var WideLayers = map[string]int{"window_token": 0, "4_token": 2, "128_score": 3, "4_score": 4}

// Wide runs one layer of V4-Flash at full width, with random weights: four texts, the
// first of so many tokens, each read in a step, decoded for one token alone
// and then, read anew, all together. What each gets must be the same bits, and its
// evaluator's logits where `evaluates` says so, which takes it long. The first text's
// token closes a block if the text is one short of a block.
func Wide(t *testing.T, layer, tokens int, evaluates bool, open Open) {
	w := newWide(t, layer, evaluates, open)
	var rows []ir.Row // one for each text, after its prompt
	prompts := func() (logits []float32) {
		rows = rows[:0]
		for slot := range int32(wideTexts) {
			n := max(tokens>>(2*slot)-int(slot), 1)
			var prompt []ir.Row
			for at, token := range Random(1000*int(slot), n+1, w.dev.Vocab()) {
				prompt = append(prompt, ir.Row{Token: token, Position: int32(at), Slot: slot})
			}
			rows = append(rows, prompt[n])
			logits = append(logits, w.step(false, prompt[:n], []int{n - 1})...)
		}
		return logits
	}
	first := prompts()
	var alone []float32
	for _, row := range rows {
		alone = append(alone, w.step(true, []ir.Row{row}, []int{0})...)
	}
	for slot := range int32(wideTexts) {
		w.reset(slot)
	}
	if again := prompts(); !slices.Equal(again, first) {
		t.Error("the same prompts give other logits the second time")
	}
	if together := w.step(true, rows, []int{0, 1, 2, 3}); !slices.Equal(together, alone) {
		t.Error("rows together have other logits than alone")
	}
	if p := w.pair; p != nil {
		p.Report()
	}
}

// WidePrompt reads one short prompt by a layer of Flash at full width, once, to a block of
// four and beyond: so much compute-sanitizer can watch every access of.
func WidePrompt(t *testing.T, layer int, open Open) {
	w := newWide(t, layer, false, open)
	var prompt []ir.Row
	for at, token := range Random(9, 5, w.dev.Vocab()) {
		prompt = append(prompt, ir.Row{Token: token, Position: int32(at)})
	}
	w.step(false, prompt, []int{len(prompt) - 1})
}

// wideTexts are the texts of Wide.
const wideTexts = 4

// wide is a layer on a device, beside the evaluator unless pair is nil.
type wide struct {
	t    *testing.T
	dev  device.Planned
	pair *Pair
}

func newWide(t *testing.T, layer int, evaluates bool, open Open) *wide {
	t.Helper()
	config, err := synthetic.Flash()
	if err != nil {
		t.Fatal(err)
	}
	m, err := synthetic.New(fmt.Sprintf("layer %d of Flash", layer), config, synthetic.Options{Layers: []int{layer}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if err := m.Fill(t.Context(), synthetic.FillOptions{}); err != nil {
		t.Fatal(err)
	}
	b, _, err := bundle.Compile(bundle.SourceOf(m.Model), bundle.Options{Lean: true, Formats: Trained, Context: 256, Chunk: 192, Wanted: wideTexts, Slots: wideTexts})
	if err != nil {
		t.Fatal(err)
	}
	w := &wide{t: t}
	see := func(string, []byte) {}
	both := lockstep.New(lockstep.Choices)
	if evaluates {
		see = both.See
	}
	w.dev = open(t, b, m.Checkpoint, see)
	t.Cleanup(func() {
		if err := w.dev.Close(); err != nil {
			t.Error(err)
		}
	})
	if evaluates {
		w.pair = &Pair{t: t, Model: m.Model, Device: w.dev, b: w.dev.Bundle(), both: both}
		if err := both.Attach(w.dev, m.Weights); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *wide) reset(slot int32) {
	if w.pair != nil {
		w.pair.both.Reset(slot)
		return
	}
	w.dev.Reset(slot)
}

// step gives the logits, which are finite.
func (w *wide) step(decode bool, rows []ir.Row, wanted []int) []float32 {
	w.t.Helper()
	if w.pair != nil {
		return w.pair.Step(decode, rows, wanted)
	}
	run := w.dev.Prefill
	if decode {
		run = w.dev.Decode
	}
	logits, err := run(rows, wanted)
	if err != nil {
		w.t.Fatal(err)
	}
	for i, x := range logits {
		if x-x != 0 {
			w.t.Fatalf("logit %d of row %d is %v", i%w.dev.Vocab(), i/w.dev.Vocab(), x)
		}
	}
	if slices.Max(logits) == slices.Min(logits) || math.Abs(float64(slices.Max(logits))) > 1e6 {
		w.t.Fatalf("logits from %v to %v", slices.Min(logits), slices.Max(logits))
	}
	return logits
}
