package session_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// picker is a fake that picks tokens itself and counts who asks for logits.
type picker struct {
	*fake
	last    []float32 // of the last step's wanted rows
	copied  int       // rows of logits that left the device
	numbers bool      // false: no logit is a number
}

func newPicker() *picker { return &picker{fake: newFake(), numbers: true} }

func (p *picker) run(rows []ir.Row, wanted []int) (err error) {
	logits, err := p.Step(rows, wanted)
	if err == nil {
		p.last = logits
	}
	for i := range p.last {
		if !p.numbers {
			p.last[i] = float32(math.NaN())
		}
	}
	return err
}

func (p *picker) Prefill(rows []ir.Row, wanted []int) ([]float32, error) {
	if err := p.run(rows, wanted); err != nil {
		return nil, err
	}
	p.copied += len(wanted)
	return slices.Clone(p.last), nil
}

func (p *picker) Decode(rows []ir.Row, wanted []int) ([]float32, error) {
	return p.Prefill(rows, wanted)
}

func (p *picker) SamplePrefill(rows []ir.Row, wanted []int, choices []sampling.Choice, tokens []int32) error {
	if err := p.run(rows, wanted); err != nil {
		return err
	}
	for i, c := range choices {
		var err error
		if tokens[i], err = c.Pick(p.last[i*fakeVocab:(i+1)*fakeVocab], nil); err != nil {
			tokens[i] = -1
		}
	}
	return nil
}

func (p *picker) SampleDecode(rows []ir.Row, wanted []int, choices []sampling.Choice, tokens []int32) error {
	return p.SamplePrefill(rows, wanted, choices, tokens)
}

func (p *picker) LastLogits(i int) ([]float32, error) {
	p.copied++
	return slices.Clone(p.last[i*fakeVocab : (i+1)*fakeVocab]), nil
}

var drawn = sampling.Params{Temperature: 1.5, TopK: 40, TopP: 0.9, MinP: 0.01, Seed: 11}

// TestSampler: a device that picks tokens gives the texts of one that does not,
// and logits leave it before and after a text only.
func TestSampler(t *testing.T) {
	for _, params := range []sampling.Params{sampling.Greedy(), drawn} {
		p := newPicker()
		var texts [2][]int32
		for i, d := range []device.Device{newFake(), p} {
			q := openSequence(t, newSession(t, d, session.Options{Chunk: 2, Context: 100}))
			extend(t, q, []int32{3, 1, 4})
			ctx, cancel := context.WithCancel(t.Context())
			o := session.GenerateOptions{Sampling: params, Emit: func(token int32) error {
				if texts[i] = append(texts[i], token); len(texts[i]) == 9 {
					cancel()
				}
				return nil
			}}
			if _, reason, err := q.Generate(ctx, o); err != nil || reason != session.StopCancelled {
				t.Fatal(reason, err)
			}
			if want := fakeLogits(append([]int32{3, 1, 4}, texts[i]...)); !slices.Equal(q.Logits(), want) {
				t.Error("after the text the logits are not those of its last token")
			}
			// What the device picked for the token to come is not used.
			o.MaxTokens, o.Sampling.Temperature = 9, 1.1
			if _, _, err := q.Generate(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		if len(texts[0]) != 18 || !slices.Equal(texts[0], texts[1]) {
			t.Errorf("texts are %v and %v", texts[0], texts[1])
		}
		if p.copied != 3 {
			t.Errorf("%d rows of logits left the device, expected that of the prompt and two more", p.copied)
		}
	}
}

// TestSamplerBesides: where Emit has another sequence go on, a text ends without
// logits and never with the other's.
func TestSamplerBesides(t *testing.T) {
	sess := newSession(t, newPicker(), session.Options{Slots: 2, Context: 100})
	q, other := openSequence(t, sess), openSequence(t, sess)
	extend(t, q, []int32{3, 1, 4})
	extend(t, other, []int32{5})
	var got []int32
	o := session.GenerateOptions{MaxTokens: 6, Sampling: sampling.Greedy(), Emit: func(token int32) error {
		got = append(got, token)
		return sess.Decode([]session.Next{{Sequence: other, Token: token}})
	}}
	if _, _, err := q.Generate(t.Context(), o); err != nil || !slices.Equal(got, chain([]int32{3, 1, 4}, 6)) {
		t.Errorf("got %v, %v", got, err)
	}
	if q.Logits() != nil {
		t.Error("the text has logits that are not its own")
	}
	if want := fakeLogits(append([]int32{5}, got...)); !slices.Equal(other.Logits(), want) {
		t.Error("the other sequence has not its logits")
	}
}

func TestSamplerNoNumbers(t *testing.T) {
	p := newPicker()
	q := openSequence(t, newSession(t, p, session.Options{Context: 100}))
	extend(t, q, []int32{3})
	p.numbers = false
	n, _, err := q.Generate(t.Context(), session.GenerateOptions{Sampling: sampling.Greedy()})
	if n != 1 || !errors.Is(err, sampling.ErrNoLogits) || !strings.HasPrefix(err.Error(), "position 2: ") {
		t.Errorf("%d tokens, %v", n, err)
	}
}

// TestSample: several sequences in a step, each with its own choice, on devices
// of both sorts.
func TestSample(t *testing.T) {
	for _, d := range []device.Device{newFake(), newPicker()} {
		sess := newSession(t, d, session.Options{Slots: 2, Chunk: 4, Context: 5})
		a, b := openSequence(t, sess), openSequence(t, sess)
		expect := func(what string, got int32, c sampling.Choice, tokens ...int32) {
			t.Helper()
			if want, err := c.Pick(fakeLogits(tokens), nil); err != nil || got != want {
				t.Errorf("%T, %s: token %d, expected %d, %v", d, what, got, want, err)
			}
		}
		hot := drawn.Choice(1, 2)
		extend(t, b, []int32{9})
		token, err := a.ExtendSample([]int32{3, 1}, hot)
		if err != nil {
			t.Fatal(err)
		}
		expect("prompt", token, hot, 3, 1)
		next, choices, picked := []session.Next{{Sequence: b, Token: 7}, {Sequence: a, Token: token}}, []sampling.Choice{hot, {}}, make([]int32, 2)
		if err := sess.Sample(next, choices[:1], picked); err == nil {
			t.Error("one choice for two sequences was accepted")
		}
		if err := sess.Sample(append(next, next[0]), append(choices, hot), make([]int32, 3)); err == nil {
			t.Error("a sequence was given twice and accepted")
		}
		if err := sess.Sample(next, choices, picked); err != nil {
			t.Fatal(err)
		}
		expect("drawn", picked[0], hot, 9, 7)
		expect("largest", picked[1], sampling.Choice{}, 3, 1, token)
		var limit *session.ContextError
		if _, err := a.ExtendSample([]int32{1, 2, 3}, hot); !errors.As(err, &limit) || a.Len() != 3 {
			t.Errorf("%T: a step beyond the context: %v, length %d", d, err, a.Len())
		}
		a.Close()
		if _, err := a.ExtendSample([]int32{1}, hot); err == nil {
			t.Error("a closed sequence was extended")
		}
	}
}

// TestSampledLogits: what a device picked from can be asked for after the step.
func TestSampledLogits(t *testing.T) {
	for name, d := range map[string]device.Device{"fake": newFake(), "picker": newPicker()} {
		s := newSession(t, d, session.Options{Slots: 2, Context: 20})
		a, b := openSequence(t, s), openSequence(t, s)
		extend(t, a, []int32{1, 2})
		extend(t, b, []int32{3})
		next, picked := []session.Next{{a, 4}, {b, 5}}, make([]int32, 2)
		if err := s.Sample(next, make([]sampling.Choice, 2), picked); err != nil {
			t.Fatal(err)
		}
		for i, text := range [][]int32{{1, 2, 4}, {3, 5}} {
			if got, err := s.SampledLogits(next, i); err != nil || !slices.Equal(got, fakeLogits(text)) {
				t.Errorf("%s, sequence %d: %v", name, i, err)
			}
		}
	}
}

// TestExtendEach: a step gives the logits of the tokens that are asked for, in order,
// and the sequence goes on; whether the device samples makes no difference.
func TestExtendEach(t *testing.T) {
	text := []int32{1, 2, 3, 4, 5}
	for name, dev := range map[string]device.Device{"logits leave the device": newFake(), "a sampler": newPicker()} {
		s := newSession(t, dev, session.Options{Chunk: 4, Wanted: 3, Context: 20})
		for first := 1; first <= 4; first++ {
			q := openSequence(t, s)
			extend(t, q, text[:1])
			at := first
			err := q.ExtendEach(text[1:], first, func(i int, logits []float32) error {
				if i != at || !slices.Equal(logits, fakeLogits(text[:2+i])) {
					t.Errorf("%s, from %d on: token %d in place of %d, logits %v", name, first, i, at, logits)
				}
				at++
				return nil
			})
			if err != nil || at != 4 || q.Len() != 5 {
				t.Errorf("%s, from %d on: %v, up to %d, length %d", name, first, err, at, q.Len())
			}
			if first == 4 && q.Logits() != nil || first < 4 && !slices.Equal(q.Logits(), fakeLogits(text)) {
				t.Errorf("%s, from %d on: the sequence goes on from %v", name, first, q.Logits())
			}
			q.Close()
		}
		q := openSequence(t, s)
		none := func(int, []float32) error { t.Errorf("%s: logits of a step that did not run", name); return nil }
		for _, c := range []struct{ tokens, first int }{{0, 0}, {5, 4}, {4, 0}, {2, 3}, {2, -1}} {
			if err := q.ExtendEach(text[:c.tokens], c.first, none); err == nil || q.Len() != 0 {
				t.Errorf("%s, %+v: %v, length %d", name, c, err, q.Len())
			}
		}
		broken, seen := errors.New("broken"), 0
		err := q.ExtendEach(text[:3], 0, func(int, []float32) error { seen++; return broken })
		if !errors.Is(err, broken) || seen != 1 || q.Len() != 3 {
			t.Errorf("%s: %v after %d rows, length %d", name, err, seen, q.Len())
		}
		q.Close()
		if err := q.ExtendEach([]int32{1}, 0, none); err == nil {
			t.Errorf("%s: a closed sequence is extended", name)
		}
	}
}
