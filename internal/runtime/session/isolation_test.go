package session_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"smelt.example/smelt/internal/runtime/session"
)

// companion is a sequence on its way through a text, and the logits after each
// of the text's tokens.
type companion struct {
	q      *session.Sequence
	text   []int32
	expect [][]float32
}

// TestDecodeIsolation: up to eight sequences of other lengths, in changing
// slots, opened and closed at random, get one token each in common steps; the
// logits of all of them are at all times the bits each text gets alone.
func TestDecodeIsolation(t *testing.T) {
	eachSubject(t, func(t *testing.T, s subject) {
		rng := rand.New(rand.NewPCG(43, 0))
		length, rounds := 136, 40
		if testing.Short() {
			length, rounds = 30, 20
		}
		// Sequences are beginnings of these texts: what each gets alone is
		// computed once.
		var texts [][]int32
		var expect [][][]float32
		for range 3 {
			text := randomTokens(rng, length, s.vocab)
			texts, expect = append(texts, text), append(expect, alone(t, s, text))
		}
		sess := newSession(t, s.device(t), session.Options{Slots: 8, Chunk: 16, Context: length})
		var live []*companion
		opened := 0
		for round := range rounds {
			if len(live) == 0 || len(live) < 8 && rng.IntN(4) == 0 {
				k := rng.IntN(len(texts))
				c := &companion{openSequence(t, sess), texts[k], expect[k]}
				extend(t, c.q, c.text[:1+rng.IntN(length-1)])
				live = append(live, c)
				opened++
			}
			rng.Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
			live = slices.DeleteFunc(live, func(c *companion) bool {
				over := c.q.Len() == length || rng.IntN(30) == 0
				if over {
					c.q.Close()
				}
				return over
			})
			var next []session.Next
			for _, c := range live {
				if rng.IntN(4) > 0 { // some sit a step out
					next = append(next, session.Next{Sequence: c.q, Token: c.text[c.q.Len()]})
				}
			}
			if len(next) > 0 {
				if err := sess.Decode(next); err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range live {
				if !slices.Equal(c.q.Logits(), c.expect[c.q.Len()-1]) {
					t.Fatalf("seed 43, round %d: of %d sequences, the one with %d tokens does not have the bits it has alone", round, len(live), c.q.Len())
				}
			}
		}
		if opened < rounds/5 {
			t.Errorf("only %d sequences were opened", opened)
		}
	})
}

// TestDecodeEverySlot: a text has the same bits in each of eight slots, all at
// once and each with companions of other lengths.
func TestDecodeEverySlot(t *testing.T) {
	eachSubject(t, func(t *testing.T, s subject) {
		text := s.prompts[1]
		expect := alone(t, s, text)
		sess := newSession(t, s.device(t), session.Options{Slots: 8, Context: len(text)})
		var qs []*session.Sequence
		for i := range 8 {
			q := openSequence(t, sess)
			extend(t, q, text[:1+4*i])
			qs = append(qs, q)
		}
		for range len(text) - 1 - 4*7 {
			var next []session.Next
			for _, q := range qs {
				next = append(next, session.Next{Sequence: q, Token: text[q.Len()]})
			}
			if err := sess.Decode(next); err != nil {
				t.Fatal(err)
			}
			for i, q := range qs {
				if !slices.Equal(q.Logits(), expect[q.Len()-1]) {
					t.Fatalf("slot %d at length %d: not the bits of the text alone", i, q.Len())
				}
			}
		}
	})
}

// BenchmarkDecode gives 1 and 8 sequences a token each per step.
func BenchmarkDecode(b *testing.B) {
	s := fixture(b, "../../models/deepseekv4/testdata/fixtures/b-official-fp8fp4")
	for _, n := range []int{1, 8} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			sess := newSession(b, s.device(b), session.Options{Slots: n, Context: 4096})
			var next []session.Next
			fill := func() {
				for _, x := range next {
					x.Sequence.Close()
				}
				next = next[:0]
				for range n {
					q := openSequence(b, sess)
					extend(b, q, s.prompts[1])
					next = append(next, session.Next{Sequence: q, Token: 1})
				}
			}
			fill()
			for b.Loop() {
				if next[0].Sequence.Len() == 4096 {
					fill()
				}
				if err := sess.Decode(next); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
