package session_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// marker is a picker that scores tokens. It counts.
type marker struct {
	*picker
	scored int
	picked []int32
}

func (m *marker) Score(asks []program.Ask, scores []device.Score) error {
	if len(asks) != len(scores) {
		return fmt.Errorf("%d asks, room for %d scores", len(asks), len(scores))
	}
	for i, a := range asks {
		row, token := m.last[int(a.Row)*fakeVocab:][:fakeVocab], a.Token
		if token < 0 {
			token = m.picked[a.Row]
		}
		scores[i] = device.Score{Token: token, LogProb: sampling.LogProb(row, token), Top: sampling.Top(row, int(a.Top))}
		m.scored++
	}
	return nil
}

func (m *marker) SampleDecode(rows []ir.Row, wanted []int, choices []sampling.Choice, tokens []int32) error {
	err := m.picker.SampleDecode(rows, wanted, choices, tokens)
	m.picked = slices.Clone(tokens)
	return err
}

// TestExtendScores: tokens are scored by the logits before them, whoever does it, and
// the sequence goes on. A device that scores gives no logits but the newest token's.
func TestExtendScores(t *testing.T) {
	text := []int32{1, 2, 3, 4, 5}
	m := &marker{picker: newPicker()}
	for name, dev := range map[string]device.Device{"logits leave the device": newFake(), "a sampler": newPicker(), "a scorer": m} {
		s := newSession(t, dev, session.Options{Chunk: 4, Wanted: 3, Context: 20})
		for n, c := range []struct {
			first, targets int
			last           bool
			logits         int // that leave a scorer
		}{{1, 3, false, 0}, {1, 3, true, 1}, {1, 2, true, 1}, {0, 3, false, 0}, {3, 1, true, 1}, {4, 0, true, 1}, {0, 0, true, 1}, {4, 0, false, 0}} {
			q := openSequence(t, s)
			extend(t, q, text[:1])
			m.copied, m.scored = 0, 0
			targets, scores := []int32{9, 8, 7}[:c.targets], make([]device.Score, c.targets)
			top := []int{0, 3, 21}[n%3]
			if err := q.ExtendScores(text[1:], c.first, targets, top, scores, c.last); err != nil || q.Len() != 5 {
				t.Fatalf("%s, %+v: %v, length %d", name, c, err, q.Len())
			}
			for i, got := range scores {
				logits := fakeLogits(text[:2+c.first+i])
				want := device.Score{Token: targets[i], LogProb: sampling.LogProb(logits, targets[i]), Top: sampling.Top(logits, top)}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s, %+v: score %d is %v, want %v", name, c, i, got, want)
				}
			}
			if c.last && !slices.Equal(q.Logits(), fakeLogits(text)) || !c.last && q.Logits() != nil {
				t.Errorf("%s, %+v: the sequence goes on from %v", name, c, q.Logits())
			}
			if name == "a scorer" && top <= 20 && (m.copied != c.logits || m.scored != c.targets) {
				t.Errorf("%+v: %d tokens scored, %d rows of logits left the device", c, m.scored, m.copied)
			}
			q.Close()
		}
		q := openSequence(t, s)
		for _, c := range []struct {
			tokens, first, targets, scores int
			last                           bool
		}{{0, 0, 0, 0, false}, {5, 0, 1, 1, false}, {4, 0, 4, 4, false}, {4, 0, 3, 3, true}, {2, 0, 2, 1, false}, {2, 1, 2, 2, false}, {2, -1, 1, 1, false}, {2, 3, 0, 0, false}} {
			if err := q.ExtendScores(text[:c.tokens], c.first, make([]int32, c.targets), 2, make([]device.Score, c.scores), c.last); err == nil || q.Len() != 0 {
				t.Errorf("%s, %+v: %v, length %d", name, c, err, q.Len())
			}
		}
		q.Close()
		if err := q.ExtendScores([]int32{1}, 0, nil, 0, nil, false); err == nil {
			t.Errorf("%s: a closed sequence is extended", name)
		}
	}
}

// TestScore: the token behind a prompt, and those of a step, are scored by whoever can, and
// a scorer keeps its logits. More than it lists is made of logits.
func TestScore(t *testing.T) {
	for name, dev := range map[string]device.Device{"logits leave the device": newFake(), "a sampler": newPicker(), "a scorer": &marker{picker: newPicker()}} {
		m, scores := dev.(*marker)
		for _, top := range []int{0, 20, 21} {
			s := newSession(t, dev, session.Options{Slots: 2, Chunk: 4, Context: 20})
			if got, want := s.Scores(top), scores && top <= 20; got != want {
				t.Fatalf("%s scores with %d others: %v", name, top, got)
			}
			var next []session.Next
			var texts [][]int32
			for _, prompt := range [][]int32{{1, 2, 3}, {5}} {
				q := openSequence(t, s)
				if _, err := q.Score(1, 0); err == nil {
					t.Errorf("%s: a score before the first token", name)
				}
				if scores {
					m.copied = 0
				}
				token, err := q.ExtendSample(prompt, sampling.Choice{})
				if err != nil {
					t.Fatal(err)
				}
				got, err := q.Score(token, top)
				if want := (device.Score{Token: token, LogProb: sampling.LogProb(fakeLogits(prompt), token), Top: sampling.Top(fakeLogits(prompt), top)}); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %v, %v; expected %v", name, got, err, want)
				}
				if scores && m.copied != top/21 {
					t.Errorf("with %d others %d rows of logits left the device", top, m.copied)
				}
				next, texts = append(next, session.Next{Sequence: q, Token: token}), append(texts, append(prompt, token))
			}
			asks := []program.Ask{{Row: 1, Token: session.Picked, Top: int32(top)}, {Row: 0, Token: 9}, {Row: 0, Token: session.Picked, Top: 2}}
			if !s.Scores(top) {
				if err := s.BeginScore(asks); err == nil {
					t.Errorf("%s: scores of no step, or by nobody", name)
				}
				closeAll(next)
				continue
			}
			picked, got := make([]int32, 2), make([]device.Score, 3)
			for _, err := range []error{s.Begin(next), s.BeginPick(make([]sampling.Choice, 2)), s.BeginScore(asks), s.Await(picked), s.AwaitScore(got)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			for i, a := range asks {
				logits, token := fakeLogits(texts[a.Row]), a.Token
				if token < 0 {
					token = picked[a.Row]
				}
				if want := (device.Score{Token: token, LogProb: sampling.LogProb(logits, token), Top: sampling.Top(logits, int(a.Top))}); !reflect.DeepEqual(got[i], want) {
					t.Errorf("ask %d: %v, expected %v", i, got[i], want)
				}
			}
			if err := s.AwaitScore(got); err == nil {
				t.Error("scores came twice")
			}
			closeAll(next)
		}
	}
}

func closeAll(next []session.Next) {
	for _, n := range next {
		n.Sequence.Close()
	}
}
