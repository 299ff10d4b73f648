package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// runner is a fake that takes steps ahead: a device.Runner, which keeps its order of calls.
// A step runs when it begins; its tokens are handed out when they are waited for. It logs
// a step that takes tokens nobody knows yet with a +.
type runner struct {
	*fake
	begun   bool
	logits  []float32
	picked  []int32
	waiting [][]int32
	broken  error // by a call out of order
}

func newRunner() *runner { return &runner{fake: newFake()} }

func (*runner) Ahead() bool { return true }

// wrong notes a call out of order.
func (r *runner) wrong(what string) error {
	r.broken = errors.Join(r.broken, errors.New(what))
	return r.broken
}

func (r *runner) BeginDecode(rows []ir.Row, sources []int32, wanted []int) error {
	if len(r.waiting) > 1 || r.begun && len(r.waiting) > 0 {
		return r.wrong("a step is begun before those before it were waited for")
	}
	rows, follows := slices.Clone(rows), false
	for i, from := range sources {
		if from >= 0 {
			rows[i].Token, follows = max(r.picked[from], 0), true
		}
	}
	before := len(r.log)
	logits, err := r.fake.Decode(rows, wanted)
	if err != nil {
		return err
	}
	if follows {
		r.log[before] += "+"
	}
	r.logits, r.begun = logits, true
	return nil
}

func (r *runner) BeginPick(choices []sampling.Choice) error {
	if !r.begun || len(choices)*fakeVocab != len(r.logits) {
		return r.wrong("tokens are picked of no step, or of another")
	}
	r.begun, r.picked = false, make([]int32, len(choices))
	for i, c := range choices {
		token, err := c.Pick(r.logits[i*fakeVocab:(i+1)*fakeVocab], nil)
		if err != nil {
			token = -1
		}
		r.picked[i] = token
	}
	r.waiting = append(r.waiting, r.picked)
	return nil
}

func (r *runner) Await(tokens []int32) error {
	if len(r.waiting) == 0 || len(r.waiting[0]) != len(tokens) {
		return r.wrong("tokens are waited for that nobody picks")
	}
	copy(tokens, r.waiting[0])
	r.waiting = r.waiting[1:]
	return nil
}

func (r *runner) LastLogits(i int) ([]float32, error) {
	return r.logits[i*fakeVocab : (i+1)*fakeVocab], nil
}

func (r *runner) TakeBack(slot int32, length int) error {
	r.seen[slot] = r.seen[slot][:length]
	return nil
}

func (r *runner) Prefill(rows []ir.Row, wanted []int) ([]float32, error) {
	if len(r.waiting) > 0 {
		return nil, r.wrong("a prompt runs before tokens were waited for")
	}
	r.begun = false
	return r.fake.Prefill(rows, wanted)
}

// aheadOf runs one text to its end on a runner and returns it with the steps.
func aheadOf(t *testing.T, size session.Options, r Request) (out outcome, d *runner, stats Stats) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d = newRunner()
		s := start(t, d, size, Options{})
		g := submit(t, s, r)
		var err error
		if out.tokens, out.reason, err = g.Wait(); err != nil {
			t.Error(err)
		}
		s.Close()
		stats = s.Stats()
	})
	if d.broken != nil || len(d.seen) != 0 {
		t.Errorf("slots still have %v: %v", d.seen, d.broken)
	}
	return out, d, stats
}

// TestAheadStops: a text is the same whether steps ran ahead or not, for whatever reason
// it ends. Where the end could not be known before, one step ran too many, else none.
func TestAheadStops(t *testing.T) {
	size := session.Options{Chunk: 8, Context: 20}
	alone := solo(t, newFake(), size, greedy(5, 0)).tokens
	stopToken := greedy(5, 0)
	stopToken.Stop = []int32{alone[6]}
	stopString := greedy(5, 0)
	stopString.End = func(token int32) bool { return token == alone[6] }
	penalised := greedy(5, 9)
	penalised.Sampling.RepetitionPenalty = 1.5
	for name, c := range map[string]struct {
		Request
		reason session.StopReason
		tokens int
		past   int // steps after the text's last
	}{
		"stop token":  {stopToken, session.StopToken, 6, 1},
		"stop string": {stopString, session.StopString, 7, 1},
		"length":      {greedy(5, 6), session.StopLength, 6, 0},
		"one token":   {greedy(5, 1), session.StopLength, 1, 0},
		"two tokens":  {greedy(5, 2), session.StopLength, 2, 0},
		"context":     {greedy(5, 0), session.StopContext, 15, 0},
		"penalties":   {penalised, session.StopLength, 9, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, d, stats := aheadOf(t, size, c.Request)
			want := outcome{alone[:min(c.tokens, len(alone))], c.reason}
			if name == "penalties" {
				want = solo(t, newFake(), size, c.Request)
			}
			if got.reason != want.reason || !slices.Equal(got.tokens, want.tokens) {
				t.Errorf("got %v, want %v", got, want)
			}
			// The prompt gives the first token, each step one more; the last is not read,
			// but where the context ends.
			steps := c.tokens - 1
			if c.reason == session.StopToken || c.reason == session.StopContext {
				steps++
			}
			if n := d.logged("D"); n != steps+c.past {
				t.Errorf("%d decode steps, %d of them past the end; expected %d and %d: %v", n, n-steps, steps+c.past, c.past, d.log)
			}
			if ahead := max(steps-1, 0) + c.past; stats.Decodes != uint64(steps) || stats.Ahead != uint64(ahead) {
				t.Errorf("%+v; expected %d steps and %d ahead", stats, steps, ahead)
			}
		})
	}
}

// TestAheadOrder: the next step begins before the tokens of the one that runs are known,
// unless its logits are needed or a prompt's turn comes.
func TestAheadOrder(t *testing.T) {
	scored := greedy(3, 4)
	scored.Scores = true
	if _, d, stats := aheadOf(t, session.Options{Context: 40}, scored); stats.Ahead != 0 {
		t.Errorf("with scores: %v", d.log)
	}
	_, d, _ := aheadOf(t, session.Options{Context: 40}, greedy(3, 5))
	expectLog(t, d.fake, "P 0:3", "D 0", "D 0+", "D 0+", "D 0+")
	synctest.Test(t, func(t *testing.T) {
		d := newRunner()
		d.gate = make(chan struct{})
		s := start(t, d, session.Options{Slots: 2, Chunk: 4, Context: 40}, Options{})
		first := submit(t, s, greedy(2, 9))
		d.steps(3) // the prompt, a step and the one ahead of it
		second := submit(t, s, greedy(9, 3))
		d.open()
		expect(t, first, solo(t, newFake(), session.Options{Context: 40}, greedy(2, 9)))
		expect(t, second, solo(t, newFake(), session.Options{Context: 40}, greedy(9, 3)))
		s.Close()
		if d.broken != nil {
			t.Error(d.broken)
		}
		// A running text waits for one chunk at a time, and a chunk for the step that ran ahead.
		if got := strings.Join(d.log, ", "); !strings.Contains(got, "P 1:4, D 0, P 1:4, D 0, P 1:1, D 0 1, D 0 1+") {
			t.Error(got)
		}
	})
}

// TestAheadCancel: texts that are cancelled, or whose scheduler is closed, while a step
// runs ahead for them leave their slots empty and their companions alone.
func TestAheadCancel(t *testing.T) {
	for name, end := range map[string]func(cancel context.CancelFunc, s *Scheduler){
		"cancelled": func(cancel context.CancelFunc, _ *Scheduler) { cancel() },
		"closed":    func(_ context.CancelFunc, s *Scheduler) { go s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newRunner()
				d.gate = make(chan struct{})
				s := start(t, d, session.Options{Slots: 2, Context: 40}, Options{})
				ctx, cancel := context.WithCancel(t.Context())
				g, err := s.Submit(ctx, greedy(2, 30))
				if err != nil {
					t.Fatal(err)
				}
				other := submit(t, s, greedy(3, 9))
				d.steps(6)
				end(cancel, s)
				synctest.Wait()
				d.open()
				_, reason, err := g.Wait()
				if name == "closed" {
					if err != ErrClosed {
						t.Error(reason, err)
					}
				} else {
					if reason != session.StopCancelled || err != nil {
						t.Error(reason, err)
					}
					expect(t, other, solo(t, newFake(), session.Options{Context: 40}, greedy(3, 9)))
				}
				s.Close()
				if d.broken != nil || len(d.seen) != 0 {
					t.Errorf("slots still have %v: %v", d.seen, d.broken)
				}
			})
		})
	}
}

// TestAheadErrors: a step that fails, in any of its parts, ends the requests in it. A text
// that had a row in the step ahead of it alone goes on.
func TestAheadErrors(t *testing.T) {
	size := session.Options{Slots: 3, Context: 60}
	for fails := 4; fails < 12; fails++ {
		t.Run(fmt.Sprint(fails), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newRunner()
				n := 0
				var hit []int32
				submitted := make(chan struct{}) // before the first step: text i has slot i
				d.fail = func(kind string, rows []ir.Row) error {
					<-submitted
					if n++; n != fails || kind != "D" {
						return nil
					}
					for _, r := range rows {
						hit = append(hit, r.Slot)
					}
					return errBroken
				}
				s := start(t, d, size, Options{Rows: 2})
				var gens []*Generation
				for i := range 3 {
					gens = append(gens, submit(t, s, greedy(1+i, 9)))
				}
				close(submitted)
				for i, g := range gens {
					want := solo(t, newFake(), size, greedy(1+i, 9))
					tokens, _, err := g.Wait()
					if broken := errors.Is(err, errBroken); broken != slices.Contains(hit, int32(i)) || !broken && !slices.Equal(tokens, want.tokens) {
						t.Errorf("text %d: %v, %v; the step that failed had the slots %v", i, tokens, err, hit)
					}
				}
				s.Close()
				if d.broken != nil || len(d.seen) != 0 {
					t.Errorf("slots still have %v: %v", d.seen, d.broken)
				}
			})
		})
	}
}
