package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// held runs f in a bubble with a scheduler whose device waits for gate. After f
// and Close no goroutine may be left; a bubble with one fails.
func held(t *testing.T, so session.Options, o Options, f func(t *testing.T, d *fake, s *Scheduler)) {
	synctest.Test(t, func(t *testing.T) {
		d := newFake()
		d.gate = make(chan struct{})
		s := start(t, d, so, o)
		f(t, d, s)
		s.Close()
	})
}

// steps lets n steps pass and waits until the scheduler has done all that
// follows from them.
func (f *fake) steps(n int) {
	for range n {
		f.gate <- struct{}{}
		synctest.Wait()
	}
}

// open lets all steps pass from now on.
func (f *fake) open() { close(f.gate) }

// TestInterleaving: chunks alternate with decode steps, and prompts take turns.
func TestInterleaving(t *testing.T) {
	for _, c := range []struct {
		turns, tokens int
		want          string
	}{
		// Slot 0 runs when prompts of 10 and 5 tokens come in slots 1 and 2.
		{1, 8, "P 0:2, D 0, P 1:4, D 0, P 2:4, D 0, P 1:4, D 0, P 2:1, D 0 2, P 1:2, D 0 2 1, D 0 1"},
		{2, 12, "P 0:2, D 0, D 0, P 1:4, D 0, D 0, P 2:4, D 0, D 0, P 1:4, D 0, D 0, P 2:1, D 0 2, D 0 2, P 1:2, D 0 1, D 1"},
	} {
		t.Run(fmt.Sprint(c.turns), func(t *testing.T) {
			held(t, session.Options{Slots: 3, Chunk: 8, Context: 40}, Options{Chunk: 4, Turns: c.turns}, func(t *testing.T, d *fake, s *Scheduler) {
				requests := []Request{greedy(2, c.tokens), greedy(10, 3), greedy(5, 3)}
				gens := []*Generation{submit(t, s, requests[0])}
				d.steps(1)
				gens = append(gens, submit(t, s, requests[1]), submit(t, s, requests[2]))
				d.open()
				for i, g := range gens {
					expect(t, g, solo(t, newFake(), session.Options{Context: 40}, requests[i]))
				}
				expectLog(t, d, strings.Split(c.want, ", ")...)
			})
		})
	}
}

// TestMoreTextsThanRows: six texts in steps of four rows get their tokens in
// turn, and all of them get one between two chunks of a prompt.
func TestMoreTextsThanRows(t *testing.T) {
	held(t, session.Options{Slots: 7, Chunk: 4, Context: 200}, Options{Rows: 4}, func(t *testing.T, d *fake, s *Scheduler) {
		for range 6 {
			submit(t, s, greedy(1, 0))
		}
		for d.logged("P") < 6 {
			d.steps(1)
		}
		from := len(d.log)
		d.steps(30)
		turns := map[string]int{}
		for _, line := range d.log[from:] {
			for _, slot := range strings.Fields(line)[1:] {
				turns[slot]++
			}
		}
		for slot := range 6 {
			if turns[fmt.Sprint(slot)] != 30*4/6 {
				t.Errorf("in 30 steps of 4 rows the texts got %v tokens", turns)
			}
		}

		from = len(d.log)
		submit(t, s, greedy(20, 1))
		for d.logged("P") < 6+5 {
			d.steps(1)
		}
		// Chunks and two decode steps, in which every text has a turn.
		tail := d.log[from:]
		for tail[0][0] == 'D' { // steps that had begun
			tail = tail[1:]
		}
		for len(tail) > 1 {
			chunk, decodes := tail[0], strings.Fields(tail[1]+tail[2][1:])
			slices.Sort(decodes)
			if chunk != "P 6:4" || len(slices.Compact(decodes)) != 1+6 { // D and the slots
				t.Errorf("chunk %s, then %s and %s", chunk, tail[1], tail[2])
			}
			tail = tail[3:]
		}
		d.open()
	})
}

// logged counts steps of a kind.
func (f *fake) logged(kind string) (n int) {
	for _, line := range f.log {
		if strings.HasPrefix(line, kind) {
			n++
		}
	}
	return n
}

// TestManyTexts: forty texts, all slots taken, with the rows a bundle's step has.
func TestManyTexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, newFake(), session.Options{Slots: 40, Context: 100}, Options{})
		var gens []*Generation
		for i := range 40 {
			gens = append(gens, submit(t, s, greedy(1+i, 20+i)))
		}
		for i, g := range gens {
			expect(t, g, solo(t, newFake(), session.Options{Context: 100}, greedy(1+i, 20+i)))
		}
		s.Close()
		stats := s.Stats()
		if stats.Rows[16] == 0 || stats.MeanRows() <= 8 || stats.Chunks != 40 || stats.Active+stats.Waiting != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

// TestQueue: one slot, three may wait; the fifth is refused, and the others get
// the slot in order of arrival.
func TestQueue(t *testing.T) {
	held(t, session.Options{Context: 40}, Options{Queue: 3}, func(t *testing.T, d *fake, s *Scheduler) {
		var gens []*Generation
		for i := range 4 {
			gens = append(gens, submit(t, s, greedy(1+i, 1)))
		}
		if _, err := s.Submit(t.Context(), greedy(5, 1)); !errors.Is(err, ErrFull) {
			t.Errorf("a fifth request: %v", err)
		}
		synctest.Wait()
		if stats := s.Stats(); stats.Active != 1 || stats.Waiting != 3 {
			t.Errorf("%+v", stats)
		}
		d.steps(1)
		gens = append(gens, submit(t, s, greedy(5, 1)))
		d.open()
		for i, g := range gens {
			expect(t, g, solo(t, newFake(), session.Options{Context: 40}, greedy(1+i, 1)))
		}
		expectLog(t, d, "P 0:1", "P 0:2", "P 0:3", "P 0:4", "P 0:5")
	})
}

// TestCancel ends requests in every state: between chunks, between tokens and
// in the queue. The step that runs is finished; the slots go to those that wait.
func TestCancel(t *testing.T) {
	held(t, session.Options{Slots: 2, Chunk: 4, Context: 40}, Options{Queue: 2}, func(t *testing.T, d *fake, s *Scheduler) {
		cancel := make([]context.CancelFunc, 3)
		var gens []*Generation
		for i, r := range []Request{greedy(3, 20), greedy(12, 20), greedy(2, 20)} {
			var ctx context.Context
			ctx, cancel[i] = context.WithCancel(t.Context())
			g, err := s.Submit(ctx, r)
			if err != nil {
				t.Fatal(err)
			}
			gens = append(gens, g)
		}
		last := submit(t, s, greedy(6, 3))
		d.steps(3) // P 0:3, D 0, P 1:4
		for _, f := range cancel {
			f()
		}
		d.steps(1) // D 0 had begun
		want := solo(t, newFake(), session.Options{Context: 40}, greedy(3, 3))
		expect(t, gens[0], outcome{want.tokens, session.StopCancelled})
		expect(t, gens[1], outcome{nil, session.StopCancelled})
		expect(t, gens[2], outcome{nil, session.StopCancelled})
		d.open()
		expect(t, last, solo(t, newFake(), session.Options{Context: 40}, greedy(6, 3)))
		// Slot 1 is free for a moment longer than slot 0.
		expectLog(t, d, "P 0:3", "D 0", "P 1:4", "D 0", "P 1:4", "P 1:2", "D 1", "D 1")
	})
}

// TestStops reaches every end a text can have.
func TestStops(t *testing.T) {
	size := session.Options{Chunk: 4, Context: 20}
	stopping := greedy(5, 0)
	stopping.Stop = []int32{fakeVocab, solo(t, newFake(), size, greedy(5, 7)).tokens[6]}
	drawn := greedy(6, 9)
	drawn.Sampling = sampling.Params{Temperature: 1, TopP: 0.9, Seed: 3}
	synctest.Test(t, func(t *testing.T) {
		s := start(t, newFake(), size, Options{Queue: 10})
		defer s.Close()
		for reason, r := range map[session.StopReason]Request{
			session.StopToken:   stopping,
			session.StopLength:  drawn,
			session.StopContext: greedy(15, 0),
		} {
			want := solo(t, newFake(), size, r)
			if want.reason != reason || len(want.tokens) == 0 {
				t.Fatalf("%q: alone it ends with %q after %d tokens", reason, want.reason, len(want.tokens))
			}
			g := submit(t, s, r)
			if got := slices.Collect(g.Tokens()); !slices.Equal(got, want.tokens) {
				t.Errorf("%q: got %v, want %v", reason, got, want.tokens)
			}
			expect(t, g, want)
		}
		expect(t, submit(t, s, greedy(20, 1)), outcome{nil, session.StopContext})
	})
}

// TestTokens: a reader sees each token after the step that made it, and a
// second reader sees them all.
func TestTokens(t *testing.T) {
	held(t, session.Options{Context: 40}, Options{}, func(t *testing.T, d *fake, s *Scheduler) {
		g := submit(t, s, greedy(4, 5))
		var got []int32
		go func() {
			for token := range g.Tokens() {
				got = append(got, token)
			}
		}()
		for n := range 5 {
			synctest.Wait()
			if len(got) != n {
				t.Errorf("%d tokens after %d steps", len(got), n)
			}
			d.steps(1)
		}
		want := solo(t, newFake(), session.Options{Context: 40}, greedy(4, 5)).tokens
		if again := slices.Collect(g.Tokens()); !slices.Equal(got, want) || !slices.Equal(again, want) {
			t.Errorf("got %v and %v, want %v", got, again, want)
		}
	})
}

// TestStream: the text of a seed depends on the stream and not on the slot.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, newFake(), session.Options{Slots: 4, Context: 60}, Options{})
		defer s.Close()
		r := greedy(5, 40)
		r.Sampling = sampling.Params{Temperature: 1, TopP: 1, Seed: 9}
		var gens []*Generation
		for _, r.Stream = range []uint64{0, 1, 0, 1} {
			gens = append(gens, submit(t, s, r))
		}
		zero, _, _ := gens[0].Wait()
		one, reason, err := gens[1].Wait()
		if slices.Equal(zero, one) {
			t.Error("two streams have the same text")
		}
		expect(t, gens[0], solo(t, newFake(), session.Options{Context: 60}, r))
		expect(t, gens[2], outcome{zero, session.StopLength})
		expect(t, gens[3], outcome{one, reason})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestDeviceErrors: a step that fails ends the requests in it and no others.
func TestDeviceErrors(t *testing.T) {
	size := session.Options{Slots: 3, Chunk: 4, Context: 60}
	held(t, size, Options{Rows: 2, Queue: 1}, func(t *testing.T, d *fake, s *Scheduler) {
		d.fail = func(kind string, rows []ir.Row) error {
			chunk := kind == "P" && rows[0].Position == 4              // the second chunk of any prompt
			text := kind == "D" && len(rows) == 2 && rows[0].Slot == 0 // slots 0 and 1
			if chunk || text {
				return errBroken
			}
			return nil
		}
		gens := []*Generation{submit(t, s, greedy(1, 30)), submit(t, s, greedy(3, 30)), submit(t, s, greedy(8, 30)), submit(t, s, greedy(2, 9))}
		d.open()
		for i, tokens := range []int{2, 1, 0} {
			got, reason, err := gens[i].Wait()
			if !errors.Is(err, errBroken) || reason != "" || len(got) != tokens {
				t.Errorf("request %d: %v, %q, %v, want %d tokens", i, got, reason, err, tokens)
			}
		}
		expect(t, gens[3], solo(t, newFake(), size, greedy(2, 9)))
		if stats := s.Stats(); stats.Active != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

// noNumbers is a device whose logits are NaN for one slot.
type noNumbers struct {
	*fake
	slot int32
}

func (d noNumbers) Decode(rows []ir.Row, wanted []int) ([]float32, error) {
	out, err := d.fake.Decode(rows, wanted)
	for i, w := range wanted {
		if rows[w].Slot == d.slot && err == nil {
			for j := range fakeVocab {
				out[i*fakeVocab+j] = float32(math.NaN())
			}
		}
	}
	return out, err
}

// TestNoLogits: a broken row ends its text and not the step's others.
func TestNoLogits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, noNumbers{newFake(), 1}, session.Options{Slots: 2, Context: 60}, Options{})
		defer s.Close()
		good, bad := submit(t, s, greedy(3, 9)), submit(t, s, greedy(4, 9))
		if _, _, err := bad.Wait(); !errors.Is(err, sampling.ErrNoLogits) {
			t.Error(err)
		}
		expect(t, good, solo(t, newFake(), session.Options{Context: 60}, greedy(3, 9)))
	})
}

// TestClose ends what runs and what waits, lets the step that runs finish and
// leaves no goroutine: synctest.Test panics if one of the bubble's is left. (The
// process's goroutines cannot be counted: one of the test before may be ending.)
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFake()
		d.gate = make(chan struct{})
		s := start(t, d, session.Options{Slots: 2, Chunk: 4, Context: 40}, Options{Queue: 2})
		gens := []*Generation{submit(t, s, greedy(1, 9)), submit(t, s, greedy(9, 9)), submit(t, s, greedy(1, 9))}
		d.steps(3)
		for range 2 {
			go s.Close()
		}
		synctest.Wait()
		if _, err := s.Submit(t.Context(), greedy(1, 1)); err != ErrClosed {
			t.Errorf("after Close: %v", err)
		}
		d.open()
		for i, g := range gens {
			if _, reason, err := g.Wait(); err != ErrClosed || reason != "" {
				t.Errorf("request %d: %q, %v", i, reason, err)
			}
		}
		s.Close()
		expectLog(t, d, "P 0:1", "D 0", "P 1:4", "D 0")
		if len(d.seen) != 0 {
			t.Errorf("slots still have %v", d.seen)
		}
	})
}

// TestIdle: requests that come one after another, each to a sleeping scheduler.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, newFake(), session.Options{Context: 40}, Options{})
		synctest.Wait()
		for range 3 {
			expect(t, submit(t, s, greedy(4, 5)), solo(t, newFake(), session.Options{Context: 40}, greedy(4, 5)))
			synctest.Wait()
		}
		s.Close()
	})
}

func TestRefused(t *testing.T) {
	s := start(t, newFake(), session.Options{Context: 40}, Options{})
	defer s.Close()
	hot := greedy(1, 1)
	hot.Sampling.Temperature = -1
	for want, r := range map[string]Request{
		"the prompt is empty":   greedy(0, 1),
		"exceed the context":    greedy(41, 1),
		"MaxTokens: found -1":   greedy(1, -1),
		"Temperature: found -1": hot,
		"TopP: found 2":         {Prompt: []int32{1}, Sampling: sampling.Params{TopP: 2}},
	} {
		if _, err := s.Submit(t.Context(), r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	var long *session.ContextError
	if _, err := s.Submit(t.Context(), greedy(41, 1)); !errors.As(err, &long) || *long != (session.ContextError{More: 41, Limit: 40}) {
		t.Errorf("%v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Submit(ended, greedy(1, 1)); err != context.Canceled {
		t.Errorf("%v", err)
	}
	for _, o := range []Options{{Rows: -1}, {Turns: -1}, {Queue: -1}, {Chunk: -1}, {Chunk: 129}, {Rows: maxRows + 1}, {Rows: math.MaxInt}, {Chunk: math.MaxInt}, {Turns: math.MinInt}} {
		if _, err := New(newSession(t, newFake(), session.Options{Context: 40}), o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

// constant is a device that allocates nothing.
type constant struct{ logits []float32 }

func (constant) Name() string { return "constant" }
func (constant) Vocab() int   { return fakeVocab }
func (constant) Reset(int32)  {}
func (constant) Close() error { return nil }

func (d constant) Prefill(_ []ir.Row, wanted []int) ([]float32, error) {
	return d.logits[:len(wanted)*fakeVocab], nil
}

func (d constant) Decode(rows []ir.Row, wanted []int) ([]float32, error) {
	return d.Prefill(rows, wanted)
}

// TestStepAllocations: a decode step allocates what the session's does.
func TestStepAllocations(t *testing.T) {
	const n = 4
	d := constant{make([]float32, n*fakeVocab)}
	size := session.Options{Slots: n, Context: 1000}
	sess := newSession(t, d, size)
	var next []session.Next
	for range n {
		q, err := sess.Open()
		if err != nil {
			t.Fatal(err)
		}
		next = append(next, session.Next{Sequence: q, Token: 1})
	}
	session := testing.AllocsPerRun(100, func() {
		if err := sess.Decode(next); err != nil {
			t.Fatal(err)
		}
	})
	s, err := newScheduler(newSession(t, d, size), Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := greedy(1, 0)
	r.Sampling = sampling.Params{Temperature: 1, TopP: 0.9}
	for range n {
		submit(t, s, r)
	}
	for len(s.texts) < n {
		s.boundary()
		s.prefill()
	}
	s.decode()
	if got := testing.AllocsPerRun(100, func() {
		s.boundary()
		s.decode()
	}); got != session || len(s.texts) != n {
		t.Errorf("%v allocations a step, the session's has %v", got, session)
	}
}
