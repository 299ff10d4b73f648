package session_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/internal/runtime/keepertest"
	"smelt.example/smelt/internal/runtime/prefix"
	"smelt.example/smelt/internal/runtime/session"
)

// keeping is a fake that keeps what its slots hold.
type keeping struct {
	*fake
	*keepertest.Keeper
}

func newKeeping(room int64) keeping {
	f := newFake()
	return keeping{f, &keepertest.Keeper{
		Held: func(slot int32) []int32 { return f.seen[slot] },
		Put:  func(slot int32, tokens []int32) { f.seen[slot] = tokens },
		All:  room, Entry: 1, Frontier: 8,
	}}
}

// TestBeside: a prompt takes the slot that has most of it, or more from beside the slots; what
// it finds is told, and where that ends.
func TestBeside(t *testing.T) {
	d := newKeeping(1 << 20)
	sess := newSession(t, d, session.Options{Slots: 2, Context: 40, Cache: prefix.Options{Page: 4}})
	leave := func(tokens []int32, marks ...int) {
		t.Helper()
		q, n := openFor(t, sess, tokens)
		for _, at := range append(marks, len(tokens)) {
			extend(t, q, tokens[n:at])
			if n = at; at < len(tokens) {
				if err := q.Mark(prefix.Head, tokens); err != nil {
					t.Fatal(err)
				}
			}
		}
		q.Keep(tokens)
	}
	all := []int32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	leave(all[:6], 3)
	leave([]int32{20, 21})
	for _, c := range []struct {
		prompt []int32
		has    int
		slot   bool
		reason prefix.Reason
	}{
		{all, 6, true, prefix.GoesOn}, // as much from beside the slots: nothing is copied
		{all[:4], 3, false, prefix.Whole},
		{[]int32{1, 2, 3, 4, 30, 31}, 3, false, prefix.Differs},
		{[]int32{20, 21, 22}, 2, true, prefix.Whole},
		{[]int32{40, 41}, 0, false, prefix.Unknown},
	} {
		if n := sess.Holds(c.prompt); n != c.has {
			t.Errorf("%v: %d tokens are there, expected %d", c.prompt, n, c.has)
		}
		q, n := openFor(t, sess, c.prompt)
		if end := q.End(); n != c.has || end.Reused != n || end.Slot != c.slot || end.Reason != c.reason {
			t.Errorf("%v: %d tokens, %+v; expected %d, %v", c.prompt, n, end, c.has, c.reason)
		}
		extend(t, q, c.prompt[n:])
		if !slices.Equal(q.Logits(), fakeLogits(c.prompt)) {
			t.Errorf("%v with %d tokens from before: other logits", c.prompt, n)
		}
		q.Close()
	}
	stats := sess.CacheStats()
	if stats.InSlot != 2 || stats.Hits[prefix.Head] != 2 || stats.Reused != 3+3 {
		t.Errorf("%+v", stats)
	}
	q := openSequence(t, sess) // of Open: it is nobody's to go on with
	extend(t, q, []int32{60, 61, 62})
	if err := q.Mark(prefix.Head, []int32{60, 61, 62}); err != nil {
		t.Error(err)
	}
	q.Keep([]int32{60, 61, 62})
	sess.Forget()
	if taken, _ := d.Room(); taken != 0 || sess.Holds([]int32{60, 61, 62, 63})+sess.Holds(all) != 0 || len(d.Live()) != 0 {
		t.Errorf("%d bytes are taken of what was to be forgotten", taken)
	}
}

// TestBesideFull: what no prompt can go on with is not kept, and a slot that cannot be kept keeps
// its text for itself.
func TestBesideFull(t *testing.T) {
	d := newKeeping(30)
	sess := newSession(t, d, session.Options{Context: 10})
	for _, c := range []struct{ n, parts int }{{10, 0}, {9, 2}, {9, 2}} {
		tokens := make([]int32, c.n)
		q, n := openFor(t, sess, tokens)
		extend(t, q, tokens[n:])
		q.Keep(tokens)
		if len(d.Live()) != c.parts {
			t.Errorf("of %d tokens %d parts are kept", c.n, len(d.Live()))
		}
	}
	long := []int32{1, 2, 3, 4, 5, 6, 7, 8, 9}
	d.All = 5
	q, _ := openFor(t, sess, long[:8])
	extend(t, q, long[:8])
	q.Keep(long[:8])
	if q, n := openFor(t, sess, long); n != 8 || !q.End().Slot {
		t.Errorf("%d tokens, %+v", n, q.End())
	}
}

// TestBesideRandom: whatever sequences did, what a prompt finds is its beginning, and in the end
// nothing is left.
func TestBesideRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 0))
	d := newKeeping(300)
	sess := newSession(t, d, session.Options{Slots: 3, Context: 40, Cache: prefix.Options{Page: 2}})
	type text struct {
		q      *session.Sequence
		tokens []int32
	}
	var open []text
	end := func(x text) {
		switch rng.IntN(6) {
		case 0:
			x.q.Close()
		case 1:
			x.q.Fail(x.tokens, rng.IntN(2) == 0)
		default:
			x.q.Keep(x.tokens)
		}
	}
	for range 1500 {
		for len(open) == 3 || len(open) > 0 && rng.IntN(2) == 0 {
			i := rng.IntN(len(open))
			end(open[i])
			open = slices.Delete(open, i, i+1)
		}
		prompt := make([]int32, 1+rng.IntN(9))
		for i := range prompt {
			prompt[i] = rng.Int32N(2)
		}
		q, n := openFor(t, sess, prompt)
		for n < len(prompt) {
			to := n + 1 + rng.IntN(len(prompt)-n)
			extend(t, q, prompt[n:to])
			n = to
			if rng.IntN(2) == 0 {
				if err := q.Mark(prefix.Kinds()[rng.IntN(4)], prompt); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !slices.Equal(q.Logits(), fakeLogits(prompt)) {
			t.Fatalf("%v: other logits; %+v", prompt, q.End())
		}
		open = append(open, text{q, prompt})
	}
	for _, x := range open {
		end(x)
	}
	if s := sess.CacheStats(); s.Evictions < 20 || s.Dropped < 20 || s.Reused < 500 || s.InSlot < 20 {
		t.Errorf("%+v", s)
	}
	sess.Forget()
	if taken, _ := d.Room(); taken != 0 {
		t.Errorf("%d bytes are taken", taken)
	}
}
