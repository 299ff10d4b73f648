package session_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
)

// longCuts are the chunks in which a subject takes its long prompt, which is
// slow. The model's own tests have all of them with every fixture.
var longCuts = map[string][]int{
	"fake":               {0, 1, 3, 4, 7, 64, 128, 129},
	"b-official-fp8fp4":  {1, 7, 64, 129},
	"a-mlx-sanitized":    {0, 3, 4, 128},
	"c-mlx-4bit-stacked": {129},
}

// TestExtendChunks: however a prompt is cut, the last logits are the same bits.
func TestExtendChunks(t *testing.T) {
	eachSubject(t, func(t *testing.T, s subject) {
		for _, prompt := range s.prompts {
			long := len(prompt) > 100
			if long && (testing.Short() || longCuts[s.name] == nil) {
				continue
			}
			whole := openSequence(t, newSession(t, s.device(t), session.Options{Chunk: len(prompt), Context: len(prompt)}))
			extend(t, whole, prompt)
			for _, chunk := range []int{0, 1, 3, 4, 7, 64, 128, 129} {
				if long && !slices.Contains(longCuts[s.name], chunk) {
					continue
				}
				q := openSequence(t, newSession(t, s.device(t), session.Options{Chunk: chunk, Context: len(prompt)}))
				extend(t, q, prompt)
				if q.Len() != len(prompt) || len(q.Logits()) != s.vocab || !slices.Equal(q.Logits(), whole.Logits()) {
					t.Errorf("%d tokens in chunks of %d: length %d, %d logits, not the bits of one step", len(prompt), chunk, q.Len(), len(q.Logits()))
				}
			}
		}
	})
}

// TestExtendSteps: chunks have the size asked for, 128 by default, and
// progress counts them.
func TestExtendSteps(t *testing.T) {
	for _, c := range []struct {
		tokens, chunk int
		want          []int
	}{
		{0, 4, nil}, {1, 4, []int{1}}, {4, 4, []int{4}}, {9, 4, []int{4, 4, 1}}, {300, 0, []int{128, 128, 44}},
	} {
		t.Run(fmt.Sprintf("%d in %d", c.tokens, c.chunk), func(t *testing.T) {
			f := newFake()
			q := openSequence(t, newSession(t, f, session.Options{Chunk: c.chunk, Context: 300}))
			var told, done []int
			if err := q.Extend(t.Context(), make([]int32, c.tokens), func(n int) { told = append(told, n) }); err != nil {
				t.Fatal(err)
			}
			sum := 0
			for _, n := range c.want {
				sum += n
				done = append(done, sum)
			}
			if !slices.Equal(f.steps, c.want) || !slices.Equal(told, done) || q.Len() != c.tokens {
				t.Errorf("steps %v, progress %v, length %d; want steps %v, progress %v", f.steps, told, q.Len(), c.want, done)
			}
			if (q.Logits() != nil) != (c.tokens > 0) {
				t.Errorf("%d logits after %d tokens", len(q.Logits()), c.tokens)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		o    session.Options
		want string
	}{
		{"no context", session.Options{}, "context 0"},
		{"negative slots", session.Options{Slots: -1, Context: 1}, "slots -1"},
		{"negative chunk", session.Options{Chunk: -1, Context: 1}, "chunk -1"},
		{"negative context", session.Options{Context: -1}, "context -1"},
		{"slots beyond any device", session.Options{Slots: 1<<16 + 1, Context: 1}, "slots 65537 must be at most 65536"},
		{"slots beyond memory", session.Options{Slots: math.MaxInt, Context: 1}, "must be at most 65536"},
		{"context beyond positions", session.Options{Context: math.MaxInt32 + 1}, "at most 2147483647"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if s, err := session.New(newFake(), c.o); err == nil || s != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestSlots: as many sequences as slots are open at once, and a closed one
// makes room for one that starts clean.
func TestSlots(t *testing.T) {
	eachSubject(t, func(t *testing.T, s subject) {
		sess := newSession(t, s.device(t), session.Options{Slots: 2, Context: 60})
		a, b := openSequence(t, sess), openSequence(t, sess)
		extend(t, a, s.prompts[1])
		extend(t, b, s.prompts[0])
		if q, err := sess.Open(); q != nil || err == nil || err.Error() != "all 2 slots are in use; close a sequence or ask for more slots" {
			t.Errorf("a third sequence: %v, %v", q, err)
		}
		want := slices.Clone(a.Logits())
		b.Close()
		b.Close() // does nothing, and above all does not free a slot twice
		c := openSequence(t, sess)
		if _, err := sess.Open(); err == nil {
			t.Error("closing twice freed two slots")
		}
		if c.Len() != 0 || c.Logits() != nil {
			t.Errorf("a new sequence has %d tokens and %d logits", c.Len(), len(c.Logits()))
		}
		extend(t, c, s.prompts[1])
		if !slices.Equal(c.Logits(), want) {
			t.Error("in a slot used before, the logits are not the same bits")
		}
	})
}

func TestClosed(t *testing.T) {
	sess := newSession(t, newFake(), session.Options{Slots: 2, Context: 10})
	q, other := openSequence(t, sess), openSequence(t, sess)
	extend(t, q, []int32{1})
	extend(t, other, []int32{2, 3})
	q.Close()
	want := slices.Clone(other.Logits())
	if q.Len() != 0 || q.Logits() != nil {
		t.Errorf("closed, it has %d tokens and %d logits", q.Len(), len(q.Logits()))
	}
	if err := q.Extend(t.Context(), []int32{1}, nil); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("extending: %v", err)
	}
	if err := sess.Decode([]session.Next{{Sequence: other, Token: 1}, {Sequence: q, Token: 1}}); err == nil || !strings.Contains(err.Error(), "sequence 2 of 2 is closed") {
		t.Errorf("decoding: %v", err)
	}
	if _, _, err := q.Generate(t.Context(), session.GenerateOptions{}); err == nil {
		t.Error("generating goes on")
	}
	if other.Len() != 2 || !slices.Equal(other.Logits(), want) {
		t.Error("the other sequence changed")
	}
}

func TestDecodeRefuses(t *testing.T) {
	f := newFake()
	sess := newSession(t, f, session.Options{Slots: 3, Context: 3})
	a, b := openSequence(t, sess), openSequence(t, sess)
	foreign := openSequence(t, newSession(t, newFake(), session.Options{Context: 3}))
	extend(t, a, []int32{1, 2})
	extend(t, b, []int32{1, 2, 3})
	f.before = func(rows []ir.Row, _ []int) error {
		if len(rows) == 0 || rows[0].Token == 7 {
			return errors.New("device: no such rows")
		}
		return nil
	}
	before := slices.Clone(a.Logits())
	for _, c := range []struct {
		name string
		next []session.Next
		want string
	}{
		{"none", nil, "device: no such rows"},
		{"twice the same", []session.Next{{a, 1}, {a, 2}}, "sequence 2 of 2 is closed, of another session or given twice"},
		{"of another session", []session.Next{{foreign, 1}}, "sequence 1 of 1"},
		{"full", []session.Next{{a, 1}, {b, 1}}, "3 tokens and 1 more exceed the context of 3"},
		{"device", []session.Next{{a, 7}}, "device: no such rows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := sess.Decode(c.next); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if a.Len() != 2 || b.Len() != 3 || len(f.seen[0]) != 2 || !slices.Equal(a.Logits(), before) {
				t.Errorf("lengths are %d and %d", a.Len(), b.Len())
			}
		})
	}
	if err := sess.Decode([]session.Next{{a, 3}}); err != nil || a.Len() != 3 || !slices.Equal(a.Logits(), b.Logits()) {
		t.Errorf("after all that the sequence does not go on: %v", err)
	}
}

// TestContextLimit: the last token that fits is taken, the next one refused
// with nothing done.
func TestContextLimit(t *testing.T) {
	eachSubject(t, func(t *testing.T, s subject) {
		prompt := s.prompts[1]
		sess := newSession(t, s.device(t), session.Options{Chunk: 10, Context: len(prompt)})
		q := openSequence(t, sess)
		var limit *session.ContextError
		err := q.Extend(t.Context(), append(slices.Clone(prompt), 0), nil)
		if !errors.As(err, &limit) || *limit != (session.ContextError{More: 38, Limit: 37}) || q.Len() != 0 {
			t.Errorf("one too many: %v, length %d", err, q.Len())
		}
		extend(t, q, prompt)
		want := slices.Clone(q.Logits())
		err = q.Extend(t.Context(), []int32{1}, nil)
		if !errors.As(err, &limit) || err.Error() != "37 tokens and 1 more exceed the context of 37; shorten the prompt or raise Context" {
			t.Errorf("one more: %v", err)
		}
		if err := sess.Decode([]session.Next{{Sequence: q, Token: 1}}); !errors.As(err, &limit) {
			t.Errorf("one more decoded: %v", err)
		}
		if q.Len() != 37 || !slices.Equal(q.Logits(), want) {
			t.Error("the sequence changed")
		}
		extend(t, q, nil)
	})
}

// TestExtendCancelled: finished chunks stay, and with the rest the sequence is
// what it would have been.
func TestExtendCancelled(t *testing.T) {
	eachSubject(t, func(t *testing.T, s subject) {
		prompt := s.prompts[1]
		q := openSequence(t, newSession(t, s.device(t), session.Options{Chunk: 7, Context: 100}))
		ctx, cancel := context.WithCancel(t.Context())
		err := q.Extend(ctx, prompt, func(done int) {
			if done == 14 {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) || q.Len() != 14 {
			t.Fatalf("got %v and %d tokens, want the context's error and 14", err, q.Len())
		}
		if q.Logits() != nil {
			t.Error("there are logits, but none were asked for")
		}
		if _, _, err := q.Generate(t.Context(), session.GenerateOptions{MaxTokens: 1}); err == nil || !strings.Contains(err.Error(), "nothing to go on from") {
			t.Errorf("generating from half a prompt: %v", err)
		}
		if err := q.Extend(ctx, prompt[14:], nil); !errors.Is(err, context.Canceled) || q.Len() != 14 {
			t.Errorf("with a context that has ended: %v, %d tokens", err, q.Len())
		}
		extend(t, q, prompt[14:])
		if all := alone(t, s, prompt); !slices.Equal(q.Logits(), all[len(all)-1]) {
			t.Error("after the rest the logits are not the same bits")
		}
	})
}

// TestExtendDeviceError: a step that fails changes nothing; the sequence goes
// on from the chunk before.
func TestExtendDeviceError(t *testing.T) {
	f := newFake()
	q := openSequence(t, newSession(t, f, session.Options{Chunk: 4, Context: 20}))
	broken := errors.New("device: broken")
	f.before = func(rows []ir.Row, _ []int) error {
		if rows[0].Position == 8 {
			return broken
		}
		return nil
	}
	prompt := randomTokens(rand.New(rand.NewPCG(2, 0)), 11, fakeVocab)
	extend(t, q, prompt[:4])
	want := slices.Clone(q.Logits())
	extend(t, q, prompt[4:8])
	if slices.Equal(q.Logits(), want) {
		t.Fatal("the fake's logits do not depend on the tokens")
	}
	want = slices.Clone(q.Logits())
	if err := q.Extend(t.Context(), prompt[8:], nil); !errors.Is(err, broken) || q.Len() != 8 || !slices.Equal(q.Logits(), want) {
		t.Errorf("got %v, length %d", err, q.Len())
	}
	f.before = nil
	extend(t, q, prompt[8:])
	if !slices.Equal(q.Logits(), fakeLogits(prompt)) {
		t.Error("it does not go on where it was")
	}
}

// TestReferenceRefusesTokens: a token outside the vocabulary is the device's
// error and changes nothing.
func TestReferenceRefusesTokens(t *testing.T) {
	for _, s := range subjects(t)[1:] {
		t.Run(s.name, func(t *testing.T) {
			sess := newSession(t, s.device(t), session.Options{Context: 20})
			q := openSequence(t, sess)
			extend(t, q, s.prompts[0][:4])
			for _, bad := range []int32{int32(s.vocab), -1, math.MaxInt32, math.MinInt32} {
				if err := sess.Decode([]session.Next{{Sequence: q, Token: bad}}); err == nil || q.Len() != 4 {
					t.Errorf("token %d: %v, length %d", bad, err, q.Len())
				}
			}
			extend(t, q, s.prompts[0][4:])
			if all := alone(t, s, s.prompts[0]); !slices.Equal(q.Logits(), all[4]) {
				t.Error("after it the logits are not the same bits")
			}
		})
	}
}
