package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"smelt.example/smelt/internal/runtime/keepertest"
	"smelt.example/smelt/internal/runtime/prefix"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// keeping is a fake that runs ahead and keeps what its slots hold.
type keeping struct {
	*runner
	*keepertest.Keeper
}

func newKeeping(room int64) keeping {
	r := newRunner()
	return keeping{r, &keepertest.Keeper{
		Held: func(slot int32) []int32 { return r.seen[slot] },
		Put: func(slot int32, tokens []int32) {
			if tokens == nil {
				delete(r.seen, slot)
			} else {
				r.seen[slot] = tokens
			}
		},
		All: room, Entry: 1, Frontier: 8,
	}}
}

// unlimited is room for all that a test may keep.
const unlimited = 1 << 40

// cached has pages and strides of a few tokens.
func cached(size session.Options) session.Options {
	size.Cache = prefix.Options{Page: 4, Stride: 16}
	return size
}

func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		prompt, head, have, stride int
		want                       string
	}{
		{10, 0, 0, 100, "9 a prompt"},
		{10, 4, 0, 100, "4 a shared head, 9 a prompt"},
		{10, 4, 4, 100, "9 a prompt"},
		{10, 4, 9, 100, ""},
		{10, 9, 0, 100, "9 a shared head"},
		{10, 10, 0, 100, "9 a prompt"}, // nothing would be left to read
		{1, 1, 0, 100, ""},
		{500, 127, 0, 1000, "127 a shared head, 499 a prompt"},
		{500, 128, 0, 1000, "128 a shared head, 499 a prompt"},
		{500, 300, 0, 1000, "256 a shared head, 499 a prompt"},
		{500, 300, 256, 1000, "499 a prompt"},
		{500, 300, 200, 256, "256 a shared head, 499 a prompt"},
		{500, 0, 200, 100, "300 the middle of a prompt, 400 the middle of a prompt, 499 a prompt"},
		{401, 0, 300, 100, "400 a prompt"},
	} {
		r := &request{Request: Request{Prompt: make([]int32, c.prompt), Head: c.head}}
		var got []string
		for _, p := range r.places(c.have, c.stride) {
			got = append(got, fmt.Sprintf("%d %s", p.at, p.kind))
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%+v: %s", c, text)
		}
	}
}

// TestCacheTalks: conversations that take turns in one slot are gone on with, and chunks end where
// something is kept: in the steps that were run no token is read twice.
func TestCacheTalks(t *testing.T) {
	size := cached(session.Options{Chunk: 8, Context: 120})
	for _, size.Ahead = range []session.Ahead{session.AheadNever, session.AheadAlways} {
		synctest.Test(t, func(t *testing.T) {
			d := newKeeping(unlimited)
			s := start(t, d, size, Options{})
			var said [3][]int32
			for round := range 3 {
				for i := range said {
					if round == 0 {
						said[i] = slices.Concat(greedy(10, 0).Prompt, []int32{int32(i), 5})
					}
					r := Request{Prompt: said[i], Head: 10, MaxTokens: 5, Sampling: sampling.Greedy()}
					g := submit(t, s, r)
					expect(t, g, solo(t, newFake(), size, r))
					reused := len(r.Prompt) - 3
					switch {
					case round == 0 && i == 0:
						reused = 0
					case round == 0:
						reused = 10
					}
					text, _, _ := g.Wait()
					if got := g.Prompt(); got.Reused != reused || got.Read != len(r.Prompt) {
						t.Errorf("round %d, talk %d: %+v, expected %d of %d tokens reused", round, i, got, reused, len(r.Prompt))
					}
					said[i] = slices.Concat(said[i], text, []int32{1, 2})
				}
			}
			s.Close()
			first := d.log[:slices.IndexFunc(d.log, func(l string) bool { return l[0] == 'D' })]
			if got := strings.Join(first, " "); got != "P 0:8 P 0:2 P 0:1 P 0:1" {
				t.Errorf("the first prompt is read by %s", got)
			}
			c := s.Stats().Cache
			if c.Hits[prefix.Head] != 2 || c.Hits[prefix.Text] != 6 || c.Ends[prefix.Unknown] != 1 || c.Ends[prefix.Differs] != 2 || c.Ends[prefix.GoesOn] != 6 || c.Bytes != 0 {
				t.Errorf("%+v", c)
			}
			if taken, _ := d.Room(); taken != 0 || d.broken != nil {
				t.Errorf("after Close %d bytes are taken: %v", taken, d.broken)
			}
		})
	}
}

// TestCacheAgain: a prompt that comes again reads its last token, and one that was cancelled
// while it was read goes on there.
func TestCacheAgain(t *testing.T) {
	size := cached(session.Options{Chunk: 4, Context: 120})
	synctest.Test(t, func(t *testing.T) {
		d := newKeeping(unlimited)
		d.gate = make(chan struct{})
		s := start(t, d, size, Options{Queue: 1})
		g := submit(t, s, greedy(30, 4))
		synctest.Wait()
		d.steps(3)
		g.Cancel()
		d.open()
		g.Wait()
		for i, reused := range []int{16, 29, 29} {
			submit(t, s, greedy(9, 1)).Wait() // in the same slot
			g = submit(t, s, greedy(30, 4))
			expect(t, g, solo(t, newFake(), size, greedy(30, 4)))
			if got := g.Prompt().Reused; got != reused {
				t.Errorf("time %d: %d tokens reused, expected %d; %v", i, got, reused, d.log)
			}
		}
		s.Close()
	})
}

// TestCacheOff: without room all is as if nobody had thought of it.
func TestCacheOff(t *testing.T) {
	size := cached(session.Options{Chunk: 8, Context: 120})
	synctest.Test(t, func(t *testing.T) {
		d := newKeeping(0)
		s := start(t, d, size, Options{})
		defer s.Close()
		r := greedy(20, 1)
		r.Head = 10
		submit(t, s, r).Wait()
		g := submit(t, s, r)
		g.Wait()
		if got := g.Prompt(); got.Reused != 0 || got.End.String() != "no free slot held a beginning of the prompt, and no memory is kept for more" {
			t.Errorf("%+v", got)
		}
		expectLog(t, d.fake, "P 0:8", "P 0:8", "P 0:4", "P 0:8", "P 0:8", "P 0:4")
	})
}

// TestEqualPrompts: of several requests with one prompt one reads it, and the others its last
// token, whatever else waits; with one head, that.
func TestEqualPrompts(t *testing.T) {
	size := cached(session.Options{Slots: 4, Chunk: 8, Context: 120})
	equal, other := greedy(30, 3), greedy(21, 3)
	head := func(n, last int32) Request {
		r := greedy(30, 3)
		r.Prompt, r.Head = append(r.Prompt[:n:n], last, 7, 7), int(n)
		return r
	}
	for name, c := range map[string]struct {
		requests []Request
		read     int // tokens in all
	}{
		"equal":               {[]Request{equal, equal, other, equal}, 30 + 21 + 2},
		"one head":            {[]Request{head(20, 1), head(20, 2), other, head(20, 3)}, 23 + 21 + 3 + 3},
		"heads of two sizes":  {[]Request{head(20, 1), head(12, 60), head(20, 3)}, 23 + 15 + 3}, // the second shares no place of the first's
		"scores are read":     {[]Request{equal, {Prompt: equal.Prompt, MaxTokens: 1, PromptScores: true}}, 60},
		"more than slots":     {[]Request{equal, equal, equal, equal, equal, equal}, 30 + 5},
		"nothing in common":   {[]Request{equal, other, greedy(15, 2)}, 30 + 21 + 15},
		"a beginning of it":   {[]Request{head(20, 1), {Prompt: head(20, 1).Prompt[:21], MaxTokens: 2}}, 23 + 1},
		"longer than all due": {[]Request{{Prompt: equal.Prompt[:21], MaxTokens: 1}, equal}, 21 + 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newKeeping(unlimited)
				d.gate = make(chan struct{})
				s := start(t, d, size, Options{Queue: 8})
				var gens []*Generation
				for _, r := range c.requests {
					gens = append(gens, submit(t, s, r))
				}
				d.open()
				for i, g := range gens {
					expect(t, g, solo(t, newFake(), size, c.requests[i]))
				}
				s.Close()
				read := 0
				for _, line := range d.log {
					var slot, n int
					if k, _ := fmt.Sscanf(line, "P %d:%d", &slot, &n); k == 2 {
						read += n
					}
				}
				if read != c.read {
					t.Errorf("%d tokens of prompts are read, expected %d; %v", read, c.read, d.log)
				}
			})
		})
	}
}

// TestEqualPromptsEnd: if the one that reads is cancelled or fails, the next reads; who waits
// may be cancelled; and who comes behind is not held up.
func TestEqualPromptsEnd(t *testing.T) {
	size := cached(session.Options{Slots: 3, Chunk: 4, Context: 120})
	for _, how := range []string{"cancelled", "failed", "waiting cancelled", "slots"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newKeeping(unlimited)
				d.gate = make(chan struct{})
				s := start(t, d, size, Options{Queue: 8})
				first, second, other, third := submit(t, s, greedy(30, 3)), submit(t, s, greedy(30, 3)), submit(t, s, greedy(9, 2)), submit(t, s, greedy(30, 3))
				d.steps(5)
				if got := s.Stats(); got.Active != 2 || got.Waiting != 2 {
					t.Fatalf("%+v", got)
				}
				lost := first
				switch how {
				case "cancelled":
					first.Cancel()
				case "failed":
					d.fail = func(kind string, rows []ir.Row) error {
						if rows[0].Slot != 0 {
							return nil
						}
						d.fail = nil
						return errBroken
					}
				case "waiting cancelled":
					lost = second
					second.Cancel()
				case "slots":
					lost = nil
				}
				d.open()
				for _, g := range []*Generation{first, second, third} {
					if g != lost {
						expect(t, g, solo(t, newFake(), size, greedy(30, 3)))
					}
				}
				expect(t, other, solo(t, newFake(), size, greedy(9, 2)))
				if lost != nil {
					if _, reason, err := lost.Wait(); reason != session.StopCancelled && !errors.Is(err, errBroken) {
						t.Error(reason, err)
					}
				}
				if got := third.Prompt().Reused; got != 29 {
					t.Errorf("the third found %d tokens: %v", got, d.log)
				}
				s.Close()
				if taken, _ := d.Room(); taken != 0 {
					t.Errorf("%d bytes are taken", taken)
				}
			})
		})
	}
}

// TestCacheFailed: what an error ended is kept nowhere, and nobody is restored again from
// what a prompt failed on.
func TestCacheFailed(t *testing.T) {
	size := cached(session.Options{Slots: 1, Chunk: 4, Context: 120})
	reuse := func(t *testing.T, s *Scheduler, r Request) int {
		t.Helper()
		g := submit(t, s, r)
		if _, _, err := g.Wait(); err != nil {
			t.Error(err)
		}
		return g.Prompt().Reused
	}
	long, other := greedy(30, 3), greedy(9, 1)
	synctest.Test(t, func(t *testing.T) {
		d := newKeeping(unlimited)
		s := start(t, d, size, Options{})
		defer s.Close()
		failAt := func(kind string, from int) {
			d.fail = func(k string, rows []ir.Row) error {
				if k == kind && int(rows[0].Position) >= from {
					d.fail = nil
					return errBroken
				}
				return nil
			}
		}
		for _, kind := range []string{"P", "D"} { // of a prompt that is read to 20 or to its end
			failAt(kind, 20)
			if _, _, err := submit(t, s, long).Wait(); !errors.Is(err, errBroken) {
				t.Error(err)
			}
			if n := len(d.Live()); n != 0 {
				t.Errorf("%s: %d parts are kept of what failed", kind, n)
			}
		}
		if n := reuse(t, s, long); n != 0 {
			t.Errorf("%d tokens reused of what failed", n)
		}
		reuse(t, s, other)
		failAt("P", 29) // restored there
		if _, _, err := submit(t, s, long).Wait(); !errors.Is(err, errBroken) {
			t.Error(err)
		}
		if n := reuse(t, s, long); n != 16 { // the entry before
			t.Errorf("%d tokens reused, expected 16", n)
		}
		reuse(t, s, other)
		failAt("D", 30)
		if _, _, err := submit(t, s, long).Wait(); !errors.Is(err, errBroken) {
			t.Error(err)
		}
		if n := reuse(t, s, long); n != 29 { // its prompt was all right
			t.Errorf("%d tokens reused, expected 29", n)
		}
	})
}

// TestCacheRefused: what cannot be restored is read anew; a device that fails to keep fails the
// request.
func TestCacheRefused(t *testing.T) {
	size := cached(session.Options{Slots: 1, Chunk: 4, Context: 120})
	long := greedy(30, 3)
	synctest.Test(t, func(t *testing.T) {
		d := newKeeping(unlimited)
		s := start(t, d, size, Options{})
		defer s.Close()
		for _, r := range []Request{long, greedy(9, 1)} {
			if _, _, err := submit(t, s, r).Wait(); err != nil {
				t.Error(err)
			}
		}
		d.Fail = func(what string) error {
			if what == "restore" {
				d.Fail = nil
				return errBroken
			}
			return nil
		}
		g := submit(t, s, long)
		expect(t, g, solo(t, newFake(), size, long))
		if got := g.Prompt(); got.Reused != 0 || got.End.Reason != prefix.Failed {
			t.Errorf("%+v", got)
		}
		d.Fail = func(string) error { return errBroken }
		if _, _, err := submit(t, s, greedy(11, 1)).Wait(); !errors.Is(err, errBroken) {
			t.Errorf("of a device that keeps nothing: %v", err)
		}
	})
}

// TestCacheUnderStep: a text ends, and is kept, while a step runs ahead for it; that step fails.
// Nobody goes on with what was kept of it then.
func TestCacheUnderStep(t *testing.T) {
	for fails, reused := range map[int]int{0: 6, 5: 1} {
		synctest.Test(t, func(t *testing.T) {
			k := newKeeping(unlimited)
			a := &awaits{runner: k.runner, fails: fails}
			d := struct {
				*awaits
				*keepertest.Keeper
			}{a, k.Keeper}
			endsUnderStep(t, d, a, reused, cached(session.Options{Slots: 2, Context: 40}), func(s *Scheduler) {
				submit(t, s, greedy(5, 1)).Wait() // in one slot
				submit(t, s, greedy(7, 1)).Wait() // and the other
			})
		})
	}
}

// TestCacheSoak: many people with equal heads talk over few slots and little room; they
// repeat, go back, interrupt and leave at any time. Each text is the one that its prompt has
// alone, of whomever the beginning was; and in the end nothing is held, nor left.
func TestCacheSoak(t *testing.T) {
	size := cached(session.Options{Slots: 3, Chunk: 4, Context: 90})
	before := runtime.NumGoroutine()
	for _, room := range []int64{120, 600, 4000} {
		d := newKeeping(room)
		var all sync.WaitGroup
		s := start(t, d, size, Options{Chunk: 3, Rows: 2, Queue: 100})
		for i := range 8 {
			all.Go(func() { soak(t, s, size, rand.New(rand.NewPCG(uint64(room), uint64(i)))) })
		}
		all.Wait()
		s.Submit(t.Context(), greedy(3, 1)) // which Close may overtake
		s.Close()
		c := s.Stats().Cache
		if taken, _ := d.Room(); taken != 0 || len(d.Live()) != 0 || d.broken != nil || len(d.seen) != 0 || c.Frontiers != 0 || c.Pages != 0 || c.Held != 0 {
			t.Errorf("left of %+v: %d bytes, %d parts, slots %v, %v", c, taken, len(d.Live()), d.seen, d.broken)
		}
		if room < 4000 && c.Evictions == 0 || c.Reused < 200 {
			t.Errorf("room %d: %+v", room, c)
		}
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// soak is forty-two requests of one person.
func soak(t *testing.T, s *Scheduler, size session.Options, rng *rand.Rand) {
	var said []int32
	for range 42 {
		if len(said) == 0 || len(said) > 60 || rng.IntN(6) == 0 {
			said = greedy(11, 0).Prompt[:8+rng.IntN(4)]
		}
		if rng.IntN(5) > 0 { // else the same again
			for range 1 + rng.IntN(5) {
				said = append(slices.Clip(said), rng.Int32N(3))
			}
		}
		r := Request{Prompt: said, Head: min(8, len(said)), MaxTokens: 1 + rng.IntN(8), Sampling: sampling.Params{Temperature: 1, Seed: uint64(len(said))}}
		ctx, cancel := context.WithCancel(t.Context())
		g, err := s.Submit(ctx, r)
		if err != nil {
			t.Error(err)
		}
		if rng.IntN(3) == 0 {
			for range rng.IntN(200) {
				runtime.Gosched()
			}
			cancel()
		}
		text, reason, err := g.Wait()
		cancel()
		want := solo(t, newFake(), size, r)
		if reason == session.StopCancelled {
			want = outcome{want.tokens[:min(len(text), len(want.tokens))], reason}
		}
		if err != nil || reason != want.reason || !slices.Equal(text, want.tokens) {
			t.Errorf("got %v, %q, %v, want %v", text, reason, err, want)
		}
		said = slices.Concat(said, text)
	}
}
