package session_test

import (
	"fmt"
	"slices"
	"testing"

	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// marker is a picker that scores tokens. It counts.
type marker struct {
	*picker
	scored int
}

func (m *marker) ScorePrefill(rows []ir.Row, wanted []int, targets []int32, scores []float32) error {
	if len(targets) != len(wanted) || len(scores) != len(wanted) {
		return fmt.Errorf("%d targets, %d scores, %d rows", len(targets), len(scores), len(wanted))
	}
	if err := m.SamplePrefill(rows, wanted, nil, nil); err != nil {
		return err
	}
	for i, t := range targets {
		if t >= 0 {
			scores[i] = float32(sampling.LogProb(m.last[i*fakeVocab:(i+1)*fakeVocab], t))
			m.scored++
		}
	}
	return nil
}

// TestExtendScores: tokens are scored by the logits before them, whoever does it, and
// the sequence goes on. A device that scores gives no logits but the newest token's.
func TestExtendScores(t *testing.T) {
	text := []int32{1, 2, 3, 4, 5}
	m := &marker{picker: newPicker()}
	for name, dev := range map[string]device.Device{"logits leave the device": newFake(), "a sampler": newPicker(), "a scorer": m} {
		s := newSession(t, dev, session.Options{Chunk: 4, Wanted: 3, Context: 20})
		for _, c := range []struct {
			first, targets int
			last           bool
			logits         int // that leave a scorer
		}{{1, 3, false, 0}, {1, 3, true, 1}, {1, 2, true, 1}, {0, 3, false, 0}, {3, 1, true, 1}, {4, 0, true, 1}, {0, 0, true, 1}, {4, 0, false, 0}} {
			q := openSequence(t, s)
			extend(t, q, text[:1])
			m.copied, m.scored = 0, 0
			targets, scores := []int32{9, 8, 7}[:c.targets], make([]float64, c.targets)
			if err := q.ExtendScores(text[1:], c.first, targets, scores, c.last); err != nil || q.Len() != 5 {
				t.Fatalf("%s, %+v: %v, length %d", name, c, err, q.Len())
			}
			for i, got := range scores {
				want := sampling.LogProb(fakeLogits(text[:2+c.first+i]), targets[i])
				if got != want && !(name == "a scorer" && float32(got) == float32(want)) {
					t.Errorf("%s, %+v: score %d is %v, want %v", name, c, i, got, want)
				}
			}
			if c.last && !slices.Equal(q.Logits(), fakeLogits(text)) || !c.last && q.Logits() != nil {
				t.Errorf("%s, %+v: the sequence goes on from %v", name, c, q.Logits())
			}
			if name == "a scorer" && (m.copied != c.logits || m.scored != c.targets) {
				t.Errorf("%+v: %d tokens scored, %d rows of logits left the device", c, m.scored, m.copied)
			}
			q.Close()
		}
		q := openSequence(t, s)
		for _, c := range []struct {
			tokens, first, targets, scores int
			last                           bool
		}{{0, 0, 0, 0, false}, {5, 0, 1, 1, false}, {4, 0, 4, 4, false}, {4, 0, 3, 3, true}, {2, 0, 2, 1, false}, {2, 1, 2, 2, false}, {2, -1, 1, 1, false}, {2, 3, 0, 0, false}} {
			if err := q.ExtendScores(text[:c.tokens], c.first, make([]int32, c.targets), make([]float64, c.scores), c.last); err == nil || q.Len() != 0 {
				t.Errorf("%s, %+v: %v, length %d", name, c, err, q.Len())
			}
		}
		q.Close()
		if err := q.ExtendScores([]int32{1}, 0, nil, nil, false); err == nil {
			t.Errorf("%s: a closed sequence is extended", name)
		}
	}
}
