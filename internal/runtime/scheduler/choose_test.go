package scheduler

import (
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/runtime/session"
)

// TestChangesFit: a step takes no more texts than its list of changed logits has room
// for, and every text is the one it is alone.
func TestChangesFit(t *testing.T) {
	held(t, session.Options{Slots: 14, Context: 60}, Options{}, func(t *testing.T, d *fake, s *Scheduler) {
		var gens []*Generation
		var requests []Request
		for i := range 14 {
			r := greedy(24, 12)
			r.Sampling.RepetitionPenalty, r.Sampling.PresencePenalty = 1.5, 0.5
			for j := range r.Prompt {
				r.Prompt[j] = int32((5*i + j) % fakeVocab)
			}
			requests = append(requests, r)
			gens = append(gens, submit(t, s, r))
		}
		d.open()
		for i, g := range gens {
			expect(t, g, solo(t, newFake(), session.Options{Context: 60}, requests[i]))
		}
		most := 0
		for _, line := range d.log {
			if strings.HasPrefix(line, "D") {
				most = max(most, len(strings.Fields(line))-1)
			}
		}
		if room := 4 * fakeVocab; most > room/24 || most <= fakeVocab/24 {
			t.Errorf("a step had %d texts with 24 or more changes each, of %d at most", most, room)
		}
	})
}

// TestEnd: whoever sees the tokens may end the text, and the one that ended it is part
// of it; that is the reason even where the text would end anyway.
func TestEnd(t *testing.T) {
	whole := solo(t, newFake(), session.Options{Context: 60}, greedy(3, 9))
	for n := 1; n <= 9; n++ {
		held(t, session.Options{Context: 60}, Options{}, func(t *testing.T, d *fake, s *Scheduler) {
			d.open()
			r, seen := greedy(3, 9), []int32(nil)
			r.End = func(token int32) bool {
				seen = append(seen, token)
				return len(seen) == n
			}
			g := submit(t, s, r)
			expect(t, g, outcome{tokens: whole.tokens[:n], reason: session.StopString})
			if !slices.Equal(seen, whole.tokens[:n]) {
				t.Errorf("End saw %v of %v", seen, whole.tokens)
			}
		})
	}
}
