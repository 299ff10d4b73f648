package scheduler

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// turn is a request of a conversation and what came of it.
type turn struct {
	Request
	gen *Generation
}

// converse has a conversation: each prompt is the one before with its text and some tokens
// more. scored asks for log-probabilities, without which steps may run ahead.
func converse(t *testing.T, s *Scheduler, tokens []int32, scored bool) (all []turn) {
	t.Helper()
	for i := range 4 {
		r := Request{Prompt: tokens, MaxTokens: 5, Sampling: sampling.Greedy(), Scores: scored, Top: 3}
		g := submit(t, s, r)
		text, _, err := g.Wait()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, turn{r, g})
		tokens = slices.Concat(tokens, text, []int32{int32(3 + i), 7, int32(9 + i)})
	}
	return all
}

// TestKeptConversation: a conversation whose turns go on in their slot has the texts and
// scores of one whose every turn is read anew: the same bits on the evaluator, and on the
// processor, whose kernels differ for prompts and texts, all but the same.
func TestKeptConversation(t *testing.T) {
	size := session.Options{Slots: 4, Chunk: 16, Context: 60}
	near := map[string]float64{"reference": 0, "cpu": 2e-5} // TestKept has the fakes
	for _, device := range devices(t, size) {
		near, ok := near[device.name]
		if !ok {
			continue
		}
		t.Run(device.name, func(t *testing.T) {
			d, size := device.open(t), size
			for _, size.Ahead = range []session.Ahead{session.AheadNever, session.AheadAlways} {
				s := start(t, d, size, Options{})
				all := converse(t, s, greedy(20, 1).Prompt, size.Ahead == session.AheadNever)
				s.Close()
				s = start(t, d, size, Options{})
				held := 0
				for i, x := range all {
					if got := x.gen.Prompt(); got.Read != len(x.Prompt) || got.Reused != held {
						t.Errorf("turn %d: %d tokens read, %d of them there; expected %d and %d", i, got.Read, got.Reused, len(x.Prompt), held)
					}
					held = len(x.Prompt) + x.MaxTokens - 1 // nobody read the text's last token
					x.PromptScores = true                  // which has all of it read
					anew := submit(t, s, x.Request)
					text, reason, _ := x.gen.Wait()
					expect(t, anew, outcome{text, reason})
					if anew.Prompt().Reused != 0 {
						t.Error("a prompt that was to be read for its scores was not")
					}
					sameScores(t, i, x.gen.scores, anew.scores, near)
				}
				s.Close()
			}
		})
	}
}

// sameScores compares what tokens were given, by bits where nothing may be between them.
func sameScores(t *testing.T, turn int, got, want []Score, near float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("turn %d: %d scores, expected %d", turn, len(got), len(want))
	}
	for i := range got {
		a, b := got[i], want[i]
		if near == 0 && !slices.Equal(a.Top, b.Top) || math.Abs(a.LogProb-b.LogProb) > near {
			t.Errorf("turn %d, token %d: %v, read anew %v", turn, i, a, b)
		}
	}
}

// TestKept: what a slot holds is what was read of prompt and text, whatever ended it, with and
// without steps that run ahead, and the next prompt goes on there if it begins with all that.
func TestKept(t *testing.T) {
	size := session.Options{Chunk: 8, Context: 20}
	alone := solo(t, newFake(), size, greedy(5, 0)).tokens
	whole := slices.Concat(greedy(5, 0).Prompt, alone)
	stopToken, stopString := greedy(5, 0), greedy(5, 0)
	stopToken.Stop = []int32{alone[6]}
	stopString.End = func(token int32) bool { return token == alone[6] }
	for name, c := range map[string]struct {
		Request
		prompt []int32
		reused int
	}{
		"stop token":           {stopToken, whole[:13], 11}, // which is not read
		"stop string":          {stopString, whole[:13], 11},
		"length":               {greedy(5, 6), whole[:13], 10}, // its last token neither
		"context":              {greedy(5, 0), whole, 0},       // it is full
		"equal to what it has": {greedy(5, 6), whole[:10], 0},
		"one token more":       {greedy(5, 6), whole[:11], 10},
		"a beginning":          {greedy(5, 6), whole[:7], 0},
		"another token":        {greedy(5, 6), append(slices.Clone(whole[:9]), 1+whole[9], 3), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, ahead := range []session.Ahead{session.AheadNever, session.AheadAlways} {
					size := size
					size.Ahead = ahead
					d := newRunner()
					s := start(t, d, size, Options{})
					if _, _, err := submit(t, s, c.Request).Wait(); err != nil {
						t.Error(err)
					}
					next := Request{Prompt: c.prompt, MaxTokens: 3, Sampling: c.Sampling}
					g := submit(t, s, next)
					expect(t, g, solo(t, newFake(), size, next))
					if got := g.Prompt(); got.Reused != c.reused || got.Read != len(c.prompt) || s.Stats().Reused != uint64(c.reused) {
						t.Errorf("%+v and in all %d, expected %d tokens reused; steps %v", got, s.Stats().Reused, c.reused, d.log)
					}
					s.Close()
					if d.broken != nil || len(d.seen) != 0 {
						t.Errorf("slots still have %v: %v", d.seen, d.broken)
					}
				}
			})
		})
	}
}

// TestKeptCancelled: of a request that is cancelled the slot holds what was read: chunks of
// its prompt, or its text without the row of a step that ran ahead.
func TestKeptCancelled(t *testing.T) {
	size := session.Options{Chunk: 4, Context: 40}
	whole := slices.Concat(greedy(10, 0).Prompt, solo(t, newFake(), size, greedy(10, 20)).tokens)
	for steps, reused := range map[int]int{0: 4, 1: 8, 2: 10, 4: 11} {
		synctest.Test(t, func(t *testing.T) {
			d := newRunner()
			d.gate = make(chan struct{})
			s := start(t, d, size, Options{})
			g := submit(t, s, greedy(10, 20))
			synctest.Wait() // for the first step to begin
			d.steps(steps)
			g.Cancel()
			d.open() // the step that had begun ends
			if _, reason, err := g.Wait(); reason != session.StopCancelled || err != nil {
				t.Error(reason, err)
			}
			next := Request{Prompt: whole[:20], MaxTokens: 5, Sampling: greedy(1, 1).Sampling}
			again := submit(t, s, next)
			expect(t, again, solo(t, newFake(), size, next))
			if got := again.Prompt().Reused; got != reused {
				t.Errorf("cancelled after %d steps and in one: %d tokens reused, expected %d; %v", steps, got, reused, d.log)
			}
			s.Close()
			if d.broken != nil {
				t.Error(d.broken)
			}
		})
	}
}

// TestKeptFailed: a step that fails leaves nothing in the slots that it touched, and the
// others what they hold.
func TestKeptFailed(t *testing.T) {
	size := session.Options{Slots: 2, Chunk: 4, Context: 40}
	for _, kind := range []string{"P", "D"} {
		synctest.Test(t, func(t *testing.T) {
			d := newRunner()
			s := start(t, d, size, Options{})
			defer s.Close()
			good := greedy(3, 3)
			text, _, err := submit(t, s, good).Wait()
			if err != nil {
				t.Fatal(err)
			}
			d.fail = func(k string, rows []ir.Row) error {
				if k == kind && rows[0].Position >= 4 && rows[0].Slot == 1 {
					return errBroken
				}
				return nil
			}
			bad := greedy(7, 9)
			if _, _, err := submit(t, s, bad).Wait(); !errors.Is(err, errBroken) {
				t.Errorf("%v", err)
			}
			d.fail = nil
			if len(d.seen[1]) != 0 {
				t.Errorf("the slot of a step that failed has %v", d.seen[1])
			}
			bad.Prompt = append(bad.Prompt, 1)
			if g := submit(t, s, bad); g.Prompt().Reused != 0 {
				t.Error("what failed was reused")
			}
			good.Prompt = slices.Concat(good.Prompt, text, []int32{1})
			if g := submit(t, s, good); g.Prompt().Reused != 3+2 {
				t.Errorf("%d tokens reused of a slot that no failure touched", g.Prompt().Reused)
			}
		})
	}
}

// awaits is a runner whose tokens fail to come, once.
type awaits struct {
	*runner
	fails int // the Await that does, counted from 1
	n     int
}

func (d *awaits) Await(tokens []int32) error {
	if d.n++; d.n == d.fails {
		d.waiting = nil
		return errBroken
	}
	return d.runner.Await(tokens)
}

// TestKeptUnderStep: a text ends while a step runs ahead for it, and that step fails. Its
// slot was touched: it holds nothing.
func TestKeptUnderStep(t *testing.T) {
	for fails, reused := range map[int]int{0: 6, 5: 0} {
		synctest.Test(t, func(t *testing.T) {
			d := &awaits{runner: newRunner(), fails: fails}
			endsUnderStep(t, d, d, reused, session.Options{Slots: 2, Context: 40}, func(*Scheduler) {})
		})
	}
}

// endsUnderStep has a text end while a step runs ahead for it, which may fail, and a prompt go
// on with the text after what comes between: it finds so many tokens.
func endsUnderStep(t *testing.T, d device.Device, a *awaits, reused int, size session.Options, between func(s *Scheduler)) {
	t.Helper()
	alone := solo(t, newFake(), size, greedy(2, 9)).tokens
	ends := greedy(2, 9)
	ends.Stop = []int32{alone[4]}
	a.gate = make(chan struct{})
	s := start(t, d, size, Options{})
	first, second := submit(t, s, ends), submit(t, s, greedy(3, 20))
	a.open()
	expect(t, first, outcome{alone[:4], session.StopToken})
	if _, _, err := second.Wait(); errors.Is(err, errBroken) != (a.fails > 0) {
		t.Errorf("%v", err)
	}
	between(s)
	again := greedy(2, 1)
	again.Prompt = slices.Concat(again.Prompt, alone[:5])
	g := submit(t, s, again)
	expect(t, g, solo(t, newFake(), size, again))
	if got := g.Prompt().Reused; got != reused {
		t.Errorf("Await %d fails: %d tokens reused, expected %d; %v", a.fails, got, reused, a.log)
	}
	s.Close()
}

// TestKeptSlots: conversations that take turns each go on in their own slot; one more than
// there are slots takes the place of the one that waited longest.
func TestKeptSlots(t *testing.T) {
	size := session.Options{Slots: 3, Chunk: 8, Context: 60}
	synctest.Test(t, func(t *testing.T) {
		s := start(t, newFake(), size, Options{})
		defer s.Close()
		var said [4][]int32
		for i, c := range []struct{ talk, reused int }{
			{0, 0}, {1, 0}, {2, 0}, {1, 7}, {0, 6}, {2, 8}, // in their slots
			{3, 0}, {0, 12}, // in the place of 1
			{1, 0}, // in that of 2
			{3, 9}, {2, 0},
		} {
			if said[c.talk] == nil {
				said[c.talk] = greedy(3+c.talk, 0).Prompt
			}
			r := Request{Prompt: said[c.talk], MaxTokens: 4, Sampling: greedy(1, 1).Sampling}
			g := submit(t, s, r)
			text, _, err := g.Wait()
			if err != nil {
				t.Fatal(err)
			}
			expect(t, g, solo(t, newFake(), size, r))
			if got := g.Prompt().Reused; got != c.reused {
				t.Errorf("step %d, conversation %d: %d tokens reused, expected %d", i, c.talk, got, c.reused)
			}
			said[c.talk] = slices.Concat(r.Prompt, text, []int32{1, 2})
		}
	})
}

// TestKeptProgress: progress counts what the slot holds as done.
func TestKeptProgress(t *testing.T) {
	size := session.Options{Chunk: 4, Context: 60}
	synctest.Test(t, func(t *testing.T) {
		d := newFake()
		s := start(t, d, size, Options{})
		defer s.Close()
		r := greedy(9, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		g, err := s.Submit(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		g.Wait()
		var done []int
		r.Prompt, r.Progress = append(r.Prompt, 1, 2, 3, 4, 5), func(n int) { done = append(done, n) }
		if _, _, err := submit(t, s, r).Wait(); err != nil || !slices.Equal(done, []int{13, 14}) {
			t.Errorf("progress %v, %v", done, err)
		}
		if got := strings.Join(d.log, ", "); got != "P 0:4, P 0:4, P 0:1, P 0:4, P 0:1" {
			t.Error(got)
		}
	})
}

// TestKeptRandomTalks: four people talk over four slots, some interrupt answers, and some go
// back in what was said. Every answer is the beginning of the one that its prompt has alone.
func TestKeptRandomTalks(t *testing.T) {
	size := session.Options{Slots: 4, Chunk: 4, Context: 80}
	for _, size.Ahead = range []session.Ahead{session.AheadNever, session.AheadAlways} {
		synctest.Test(t, func(t *testing.T) {
			d := newRunner()
			d.fail = func(string, []ir.Row) error { time.Sleep(time.Microsecond); return nil }
			s := start(t, d, size, Options{Chunk: 3, Rows: 2, Queue: 4})
			var all sync.WaitGroup
			for i := range 4 {
				all.Go(func() { talk(t, s, size, rand.New(rand.NewPCG(3, uint64(i)))) })
			}
			all.Wait()
			s.Close()
			if stats := s.Stats(); stats.Reused < 500 || d.broken != nil || len(d.seen) != 0 {
				t.Errorf("%+v; slots still have %v: %v", stats, d.seen, d.broken)
			}
		})
	}
}

// talk is twenty turns of a conversation.
func talk(t *testing.T, s *Scheduler, size session.Options, rng *rand.Rand) {
	var said []int32
	for range 20 {
		if rng.IntN(5) == 0 || len(said) > 50 {
			said = said[:len(said)/2]
		}
		for range 1 + rng.IntN(4) {
			said = append(said, rng.Int32N(3))
		}
		r := Request{Prompt: said, MaxTokens: 1 + rng.IntN(8), Sampling: sampling.Greedy()}
		want := solo(t, newFake(), size, r)
		g := submit(t, s, r)
		after := rng.IntN(10)
		for range g.Tokens() {
			if after--; after == 0 {
				g.Cancel()
			}
		}
		text, reason, err := g.Wait()
		if reason == session.StopCancelled {
			want = outcome{want.tokens[:min(len(text), len(want.tokens))], reason}
		}
		if err != nil || reason != want.reason || !slices.Equal(text, want.tokens) {
			t.Errorf("got %v, %q, %v, want %v", text, reason, err, want)
		}
		said = slices.Concat(said, text)
	}
}
