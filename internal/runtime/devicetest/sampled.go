package devicetest

import (
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/lockstep"
	"smelt.example/smelt/internal/runtime/reference"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// Sampled has the device pick tokens: exactly those that package sampling picks
// from its logits, and texts that are the evaluator's.
func Sampled(t *testing.T, dir string, open Open) {
	p := New(t, dir, Float32, bundle.Options{Context: 64, Chunk: 16, Wanted: 4, Slots: 8}, open)
	d, ok := p.Device.(device.Sampler)
	if !ok {
		t.Fatal("the device does not sample")
	}
	ways := lockstep.SamplingPresets()
	p.sampledRows(d)
	p.scoredRows()
	on := func(d device.Device) (texts [][]int32) {
		s, err := session.New(d, session.Options{Slots: 2, Chunk: 7, Context: 64})
		if err != nil {
			t.Fatal(err)
		}
		for i, way := range ways {
			var mask *pick.Mask
			if i%2 > 0 {
				mask = lockstep.RandomMask(rand.New(rand.NewPCG(uint64(i), 0)), d.Vocab())
			}
			texts = append(texts, generate(t, s, Random(100*i, 9, d.Vocab()), way, mask))
		}
		return texts
	}
	machine, err := reference.New(p.Model.Graph, p.Model.Weights)
	if err != nil {
		t.Fatal(err)
	}
	hidden := struct{ device.Device }{d} // only logits: tokens are picked on the host
	picked, onHost, evaluator := on(d), on(hidden), on(machine)
	for i, way := range ways {
		if !slices.Equal(picked[i], onHost[i]) || !slices.Equal(picked[i], evaluator[i]) {
			t.Errorf("%+v:\n device    %v\n host      %v\n evaluator %v", way, picked[i], onHost[i], evaluator[i])
		}
	}
}

// generate is a text of 20 tokens, in two parts: between them the sequence must
// be as if tokens were picked from its logits.
func generate(t *testing.T, s *session.Session, prompt []int32, way sampling.Params, mask *pick.Mask) (text []int32) {
	t.Helper()
	q, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if err := q.Extend(t.Context(), prompt, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, _, err := q.Generate(t.Context(), session.GenerateOptions{MaxTokens: 10, Sampling: way, Allowed: mask, Prompt: slices.Concat(prompt, text), Emit: func(token int32) error {
			if mask != nil && !mask.Allows(token) {
				t.Errorf("%+v: token %d is not allowed", way, token)
			}
			text = append(text, token)
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if q.Logits() == nil {
			t.Fatal("after generating there are no logits")
		}
		if err := q.Extend(t.Context(), text[len(text)-1:], nil); err != nil {
			t.Fatal(err)
		}
	}
	return text
}

// sampledRows runs steps of both kinds whose wanted rows have a choice each.
func (p *Pair) sampledRows(d device.Sampler) {
	var choices []sampling.Choice
	random := rand.New(rand.NewPCG(9, 0))
	for i, way := range lockstep.SamplingPresets() {
		choices = append(choices, lockstep.RandomChoice(random, way, d.Vocab(), ir.Row{Slot: int32(i), Position: 7}))
	}
	check := func(step func([]ir.Row, []int, []sampling.Choice, []int32) error, rows []ir.Row, wanted []int, choices []sampling.Choice) {
		p.t.Helper()
		tokens := make([]int32, len(wanted))
		if err := step(rows, wanted, choices, tokens); err != nil {
			p.t.Fatal(err)
		}
		for i, c := range choices {
			logits, err := d.LastLogits(i)
			if err != nil {
				p.t.Fatal(err)
			}
			if want, err := c.Pick(logits, nil); err != nil || tokens[i] != want {
				p.t.Errorf("row %d, %+v: token %d, expected %d, %v", i, c, tokens[i], want, err)
			}
		}
		if _, err := d.LastLogits(len(wanted)); err == nil {
			p.t.Error("logits of a row that nobody wanted")
		}
	}
	var prompt, next []ir.Row
	for i := range choices[:4] {
		prompt = append(prompt, ir.Row{Token: int32(40 + i), Position: int32(i)})
		next = append(next, ir.Row{Token: int32(90 + i), Position: 1, Slot: int32(i)})
	}
	check(d.SamplePrefill, prompt, []int{3, 0, 2}, choices[:3])
	next[0].Position = int32(len(prompt))
	for i := range next[1:] {
		check(d.SamplePrefill, []ir.Row{{Token: int32(60 + i), Slot: int32(i + 1)}}, []int{0}, choices[i:i+1])
	}
	for i := 0; i+4 <= len(choices); i += 2 {
		check(d.SampleDecode, next, []int{0, 1, 2, 3}, choices[i:i+4])
		for row := range next {
			next[row].Position++
		}
	}
	if err := d.SampleDecode(next, []int{0}, choices[:2], make([]int32, 1)); err == nil {
		p.t.Error("two choices for one row were accepted")
	}
	for slot := range int32(4) {
		d.Reset(slot)
	}
}
