package scheduler

import (
	"reflect"
	"slices"
	"testing"

	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/runtime/sampling"
)

// TestScores: each token has the log-probability that the logits before it give,
// whatever the steps; and asking changes no text.
func TestScores(t *testing.T) {
	for _, wanted := range []int{0, 1, 3} {
		s := start(t, newFake(), session.Options{Slots: 2, Chunk: 4, Context: 60, Wanted: wanted}, Options{})
		r := greedy(11, 9)
		want, _, err := submit(t, s, r).Wait()
		if err != nil {
			t.Fatal(err)
		}
		var read []int
		r.Scores, r.PromptScores, r.Top = true, true, 3
		r.Progress = func(done int) { read = append(read, done) }
		g, beside := submit(t, s, r), submit(t, s, greedy(20, 20))
		text := slices.Clone(r.Prompt)
		for token, score := range g.Scored() {
			expectScore(t, score, text, token)
			text = append(text, token)
		}
		if got, _, err := g.Wait(); err != nil || !slices.Equal(got, want) || !slices.Equal(text[11:], want) {
			t.Errorf("got %v and %v, %v; without scores %v", got, text[11:], err, want)
		}
		report := g.Prompt()
		n, scores := report.Read, report.Scores
		if n != 11 || len(scores) != 10 {
			t.Fatalf("%d tokens read, %d scores", n, len(scores))
		}
		for i, score := range scores {
			expectScore(t, score, text[:i+1], text[i+1])
		}
		steps := map[int][]int{0: {4, 8, 11}, 1: {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 3: {3, 6, 9, 11}}[wanted]
		if !slices.Equal(read, steps) {
			t.Errorf("progress %v, want %v", read, steps)
		}
		if prompt, text := g.Times(); prompt <= 0 || text <= 0 {
			t.Errorf("took %v and %v", prompt, text)
		}
		beside.Wait()
		if scores := beside.Prompt().Scores; scores != nil {
			t.Errorf("nobody asked for %v", scores)
		}
		s.Close()
	}
}

func expectScore(t *testing.T, got Score, before []int32, token int32) {
	t.Helper()
	logits := fakeLogits(before)
	want := Score{sampling.LogProb(logits, token), sampling.Top(logits, 3)}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("token %d after %d: got %v, want %v", token, len(before), got, want)
	}
}

// TestScoresAlone: without others beside them the scores of a prompt are the same, and so
// is the text.
func TestScoresAlone(t *testing.T) {
	for _, wanted := range []int{0, 1, 3} {
		s := start(t, newFake(), session.Options{Chunk: 4, Context: 60, Wanted: wanted}, Options{})
		r := greedy(11, 9)
		want, _, err := submit(t, s, r).Wait()
		if err != nil {
			t.Fatal(err)
		}
		r.PromptScores = true
		g := submit(t, s, r)
		got, _, err := g.Wait()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v; without scores %v", got, err, want)
		}
		scores := g.Prompt().Scores
		if len(scores) != 10 {
			t.Fatalf("%d scores", len(scores))
		}
		for i, got := range scores {
			if want := (Score{LogProb: sampling.LogProb(fakeLogits(r.Prompt[:i+1]), r.Prompt[i+1])}); !reflect.DeepEqual(got, want) {
				t.Errorf("token %d: %v, want %v", i+1, got, want)
			}
		}
		s.Close()
	}
}

// TestGenerationCancel: a text that somebody cancels ends as if its context had.
func TestGenerationCancel(t *testing.T) {
	s := start(t, newFake(), session.Options{Context: 1 << 20}, Options{Queue: 1})
	g, waiting := submit(t, s, greedy(3, 0)), submit(t, s, greedy(4, 0))
	for range g.Tokens() {
		g.Cancel()
		waiting.Cancel()
	}
	for _, g := range []*Generation{g, waiting} {
		if tokens, reason, err := g.Wait(); reason != session.StopCancelled || err != nil {
			t.Errorf("%d tokens, %q, %v", len(tokens), reason, err)
		}
	}
	s.Close()
}
