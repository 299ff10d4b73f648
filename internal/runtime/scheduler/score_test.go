package scheduler

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
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

// scoringRunner is a runner that scores tokens, and counts whose logits leave it.
type scoringRunner struct {
	*runner
	last   []float32 // of the last step of a prompt
	scores [][]device.Score
	copied int
	fails  int // the number of the AwaitScore that fails, from 1
}

func (r *scoringRunner) SamplePrefill(rows []ir.Row, wanted []int, choices []sampling.Choice, tokens []int32) (err error) {
	if r.last, err = r.runner.Prefill(rows, wanted); err != nil {
		return err
	}
	for i, c := range choices {
		if tokens[i], err = c.Pick(r.last[i*fakeVocab:][:fakeVocab], nil); err != nil {
			return err
		}
	}
	return nil
}

func (r *scoringRunner) SampleDecode([]ir.Row, []int, []sampling.Choice, []int32) error {
	return r.wrong("a step that is not begun and waited for apart")
}

func (r *scoringRunner) LastLogits(i int) ([]float32, error) {
	r.copied++
	if r.last != nil {
		return r.last[i*fakeVocab:][:fakeVocab], nil
	}
	return r.runner.LastLogits(i)
}

func (r *scoringRunner) BeginDecode(rows []ir.Row, sources []int32, wanted []int) error {
	r.last = nil
	return r.runner.BeginDecode(rows, sources, wanted)
}

func (r *scoringRunner) Score(asks []program.Ask, scores []device.Score) error {
	if r.last == nil {
		return r.wrong("a token is scored of no step of a prompt")
	}
	for i, a := range asks {
		scores[i] = scoreIn(r.last[int(a.Row)*fakeVocab:][:fakeVocab], a.Token, a.Top)
	}
	return nil
}

func scoreIn(logits []float32, token, top int32) device.Score {
	return device.Score{Token: token, LogProb: sampling.LogProb(logits, token), Top: sampling.Top(logits, int(top))}
}

func (r *scoringRunner) BeginScore(asks []program.Ask) error {
	if r.begun || len(r.waiting) == 0 {
		return r.wrong("tokens are scored that nobody picks, or of a step behind which another began")
	}
	var scores []device.Score
	for _, a := range asks {
		scores = append(scores, scoreIn(r.logits[int(a.Row)*fakeVocab:][:fakeVocab], r.picked[a.Row], a.Top))
	}
	r.scores = append(r.scores, scores)
	return nil
}

func (r *scoringRunner) AwaitScore(scores []device.Score) error {
	if r.fails--; r.fails == 0 {
		return errBroken
	}
	if len(r.scores) == 0 || len(r.scores[0]) != len(scores) {
		return r.wrong("scores are waited for that nobody asked for")
	}
	copy(scores, r.scores[0])
	r.scores = r.scores[1:]
	return nil
}

// TestScoresAhead: where the device scores tokens, steps begin ahead beside texts that ask
// for scores too, and no logits leave it, unless more others are asked for than it lists.
func TestScoresAhead(t *testing.T) {
	for _, top := range []int{0, 3, program.MaxTop, program.MaxTop + 1} {
		synctest.Test(t, func(t *testing.T) {
			d := &scoringRunner{runner: newRunner()}
			s := start(t, d, session.Options{Slots: 3, Chunk: 4, Context: 60, Wanted: 3}, Options{})
			scored, other, third := greedy(11, 9), greedy(5, 12), greedy(7, 6)
			for _, r := range []*Request{&scored, &third} {
				r.Scores, r.Top = true, top
			}
			scored.PromptScores = true
			gens := []*Generation{submit(t, s, scored), submit(t, s, other), submit(t, s, third)}
			for i, r := range []Request{scored, other, third} {
				plain := r
				plain.Scores, plain.PromptScores = false, false
				expect(t, gens[i], solo(t, newFake(), session.Options{Context: 60}, plain))
				text := slices.Clone(r.Prompt)
				check := func(got Score, token int32) {
					t.Helper()
					want := Score{}
					if r.Scores {
						logits := fakeLogits(text)
						want = Score{sampling.LogProb(logits, token), sampling.Top(logits, top)}
					}
					if !reflect.DeepEqual(got, want) {
						t.Errorf("text %d with %d others, token %d: %v, expected %v", i, top, len(text), got, want)
					}
					text = append(text, token)
				}
				for token, score := range gens[i].Scored() {
					check(score, token)
				}
				text = text[:1]
				for n, score := range gens[i].Prompt().Scores {
					check(score, r.Prompt[n+1])
				}
				if r.PromptScores && len(text) != len(r.Prompt) {
					t.Errorf("%d tokens of the prompt are scored", len(text)-1)
				}
			}
			s.Close()
			if d.broken != nil || len(d.seen) != 0 {
				t.Errorf("slots still have %v: %v", d.seen, d.broken)
			}
			stats := s.Stats()
			if beyond := top > program.MaxTop; !beyond && (2*stats.Ahead < stats.Decodes || d.copied != 1) || beyond && (d.copied < 10 || stats.Ahead > 4) {
				t.Errorf("with %d others: %+v, %d rows of logits left the device", top, stats, d.copied)
			}
		})
	}
}

// TestScoresFail: scores that do not come end the texts of their step, and the others go on.
func TestScoresFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &scoringRunner{runner: newRunner(), fails: 3}
		d.gate = make(chan struct{})
		s := start(t, d, session.Options{Slots: 2, Chunk: 16, Context: 60}, Options{})
		r := greedy(11, 9)
		r.Scores = true
		g := submit(t, s, r)
		d.open()
		tokens, _, err := g.Wait()
		if !errors.Is(err, errBroken) || len(tokens) != 3 {
			t.Errorf("%v, %v", tokens, err)
		}
		expect(t, submit(t, s, greedy(5, 12)), solo(t, newFake(), session.Options{Context: 60}, greedy(5, 12)))
		s.Close()
		if d.broken != nil || len(d.seen) != 0 {
			t.Errorf("slots still have %v: %v", d.seen, d.broken)
		}
	})
}
