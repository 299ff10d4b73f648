package session_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
)

// openFor opens a sequence for a prompt and says how much of it it has.
func openFor(t *testing.T, s *session.Session, prompt []int32) (*session.Sequence, int) {
	t.Helper()
	q, err := s.OpenFor(prompt)
	if err != nil {
		t.Fatal(err)
	}
	if q.Logits() != nil {
		t.Error("a sequence has logits before its first token")
	}
	return q, q.Len()
}

// TestKeptLogits: a prompt that goes on with what a slot holds, of chunks and of tokens one
// by one, has the bits of one that was read whole.
func TestKeptLogits(t *testing.T) {
	eachSubject(t, func(t *testing.T, s subject) {
		if s.name != "fake" && s.name != "b-official-fp8fp4" {
			t.Skip("one fixture will do")
		}
		tokens := append(slices.Clone(s.prompts[1]), s.prompts[0]...)
		for _, cut := range []int{1, 6, len(s.prompts[1])} {
			size := session.Options{Chunk: 16, Context: 100}
			sess := newSession(t, s.device(t), size)
			q := openSequence(t, sess)
			extend(t, q, tokens[:1+cut/2])
			for _, token := range tokens[q.Len():cut] {
				if err := sess.Decode([]session.Next{{Sequence: q, Token: token}}); err != nil {
					t.Fatal(err)
				}
			}
			q.Keep(tokens[:cut])
			q, n := openFor(t, sess, tokens)
			if n != cut {
				t.Fatalf("of %d tokens kept, %d are there", cut, n)
			}
			extend(t, q, tokens[n:])
			whole := openSequence(t, newSession(t, s.device(t), size))
			extend(t, whole, tokens)
			if q.Len() != len(tokens) || !slices.Equal(q.Logits(), whole.Logits()) {
				t.Errorf("after %d kept tokens: %d tokens, and not the bits of one prompt", cut, q.Len())
			}
		}
	})
}

// TestKeptChoice: which of the free slots a prompt gets, and how much of it that has.
func TestKeptChoice(t *testing.T) {
	for name, c := range map[string]struct {
		kept   [][]int32 // by slots from 0 on, the first freed first; nil closes
		prompt []int32
		slot   int32
		has    int
	}{
		"goes on":             {[][]int32{{1, 2}}, []int32{1, 2, 3}, 0, 2},
		"the longest":         {[][]int32{{1, 2}, {1, 2, 3, 4}, {1}}, []int32{1, 2, 3, 4, 5}, 1, 4},
		"equal is not enough": {[][]int32{{1, 2}, {1}}, []int32{1, 2}, 1, 1},
		"equal alone":         {[][]int32{{1, 2}}, []int32{1, 2}, 0, 0},
		"shorter":             {[][]int32{{1, 2, 3}}, []int32{1, 2}, 0, 0},
		"another":             {[][]int32{{1, 2, 3}}, []int32{1, 9, 3, 4}, 0, 0},
		"another last token":  {[][]int32{{1, 2, 3}}, []int32{1, 2, 9, 4}, 0, 0},
		"no prompt":           {[][]int32{{1}}, nil, 0, 0},
		"the oldest goes":     {[][]int32{{1}, {2}, {3}}, []int32{4}, 0, 0},
		"empty ones go first": {[][]int32{{1}, {2}, nil, {3}}, []int32{4}, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			sess := newSession(t, f, session.Options{Slots: len(c.kept), Context: 20})
			all := make([]*session.Sequence, len(c.kept))
			for i := range all {
				all[i] = openSequence(t, sess)
			}
			for i, q := range all {
				if c.kept[i] == nil {
					q.Close()
					continue
				}
				extend(t, q, c.kept[i])
				q.Keep(c.kept[i])
				q.Keep(c.kept[i]) // does nothing
			}
			q, has := openFor(t, sess, c.prompt)
			rest := append(slices.Clone(c.prompt), 7)
			extend(t, q, rest[has:])
			if has != c.has || !slices.Equal(f.seen[c.slot], rest) {
				t.Errorf("it has %d tokens, expected %d; slots have %v, expected it in slot %d", has, c.has, f.seen, c.slot)
			}
		})
	}
}

// TestKeptUnsaid: a slot of which nobody says what it holds is empty.
func TestKeptUnsaid(t *testing.T) {
	f := newFake()
	sess := newSession(t, f, session.Options{Context: 20})
	for _, said := range [][]int32{nil, {1, 2}} {
		q := openSequence(t, sess)
		extend(t, q, []int32{1, 2, 3})
		q.Keep(said)
		if q, n := openFor(t, sess, []int32{1, 2, 3, 4}); n != 0 || len(f.seen) != 0 {
			t.Errorf("of %v said, %d tokens are there; slots have %v", said, n, f.seen)
		} else {
			q.Close()
		}
	}
	q := openSequence(t, sess)
	extend(t, q, []int32{1, 2, 3})
	q.Keep([]int32{1, 2, 3, 4}) // the fourth was never read
	sess.Forget()
	if len(f.seen) != 0 {
		t.Errorf("slots have %v", f.seen)
	}
	if _, n := openFor(t, sess, []int32{1, 2, 3, 4, 5}); n != 0 {
		t.Errorf("%d tokens are there that were to be forgotten", n)
	}
}

// TestKeptRandom: whatever sequences did that were kept, in however many slots, what a
// prompt finds in its slot is its beginning.
func TestKeptRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 0))
	f := newFake()
	sess := newSession(t, f, session.Options{Slots: 3, Context: 40})
	type text struct {
		q      *session.Sequence
		tokens []int32
	}
	var held []text
	found := 0
	for range 1000 {
		for len(held) == 3 || len(held) > 0 && rng.IntN(2) == 0 {
			i := rng.IntN(len(held))
			if rng.IntN(4) == 0 {
				held[i].q.Close()
			} else {
				held[i].q.Keep(held[i].tokens)
			}
			held = slices.Delete(held, i, i+1)
		}
		prompt := make([]int32, 1+rng.IntN(6)) // few tokens, so that beginnings are alike
		for i := range prompt {
			prompt[i] = rng.Int32N(2)
		}
		q, n := openFor(t, sess, prompt)
		if n > 0 {
			found++
		}
		extend(t, q, prompt[n:])
		if want := fakeLogits(prompt); !slices.Equal(q.Logits(), want) {
			t.Fatalf("%v with %d tokens kept: other logits; slots have %v", prompt, n, f.seen)
		}
		held = append(held, text{q, prompt})
	}
	if found < 100 {
		t.Errorf("only %d prompts found their beginning", found)
	}
}

// TestKeptFails: a step that fails changes no slot, but nobody relies on it.
func TestKeptFails(t *testing.T) {
	f := newFake()
	sess := newSession(t, f, session.Options{Slots: 2, Context: 20})
	kept, q := openSequence(t, sess), openSequence(t, sess)
	extend(t, kept, []int32{1, 2})
	kept.Keep([]int32{1, 2})
	extend(t, q, []int32{5})
	f.before = func([]ir.Row, []int) error { return errors.New("broken") }
	if err := q.Extend(t.Context(), []int32{6, 7}, nil); err == nil {
		t.Fatal("no error")
	}
	f.before = nil
	q.Keep([]int32{5, 6, 7})
	if q, n := openFor(t, sess, []int32{5, 6, 7, 8}); n != 1 {
		t.Errorf("%d tokens kept of a prompt of which one was read", n)
	} else {
		q.Close()
	}
	if _, n := openFor(t, sess, []int32{1, 2, 3}); n != 2 {
		t.Errorf("%d tokens kept in a slot that had no row in the step", n)
	}
}
