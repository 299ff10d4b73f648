package session_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/reference"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/models"
	"smelt.example/smelt/runtime/sampling"
)

// TestAheadEnds: whatever ends a text, a sequence that ran ahead is to the bit what one is
// that never did: its text, its length, its logits and whatever comes after.
func TestAheadEnds(t *testing.T) {
	m, err := models.Open("../../models/deepseekv4/testdata/fixtures/a-bf16", models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	open := func() device.Device {
		d, err := reference.New(m.Graph, m.Weights)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	lengths := []int{1, 2, 3, 4, 5, 6, 7, 8, 126, 127, 128}
	if testing.Short() {
		lengths = []int{3, 8}
	}
	enough := errors.New("enough")
	for name, end := range map[string]struct {
		reason  session.StopReason
		context int
		options func(o *session.GenerateOptions, alone []int32, cancel func())
	}{
		"stop token": {session.StopToken, 160, func(o *session.GenerateOptions, alone []int32, _ func()) { o.Stop = alone[3:4] }},
		"length":     {session.StopLength, 160, func(o *session.GenerateOptions, _ []int32, _ func()) { o.MaxTokens = 4 }},
		"context":    {session.StopContext, 0, func(*session.GenerateOptions, []int32, func()) {}},
		"stop string": {"", 160, func(o *session.GenerateOptions, _ []int32, _ func()) {
			n := 0
			o.Emit = func(int32) error {
				if n++; n == 3 {
					return enough
				}
				return nil
			}
		}},
		"cancelled": {session.StopCancelled, 160, func(o *session.GenerateOptions, _ []int32, cancel func()) {
			n := 0
			o.Emit = func(int32) error {
				if n++; n == 3 {
					cancel()
				}
				return nil
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range lengths {
				size := session.Options{Slots: 2, Chunk: 64, Context: end.context}
				if size.Context == 0 {
					size.Context = n + 4
				}
				var got [2]aheadEnd
				for i, ahead := range []session.Ahead{session.AheadNever, session.AheadAlways} {
					size.Ahead = ahead
					s, err := session.New(open(), size)
					if err != nil {
						t.Fatal(err)
					}
					if s.Ahead() != (i == 1) {
						t.Fatalf("asked for %d, it runs ahead: %v", ahead, s.Ahead())
					}
					got[i] = endOf(t, s, n, func(o *session.GenerateOptions, alone []int32) context.Context {
						ctx, cancel := context.WithCancel(t.Context())
						end.options(o, alone, cancel)
						return ctx
					})
				}
				want := got[0]
				if want.reason != end.reason {
					t.Fatalf("%d tokens: it ends with %q", n, want.reason)
				}
				if !slices.Equal(got[1].text, want.text) || got[1].reason != want.reason || got[1].length != want.length || !slices.Equal(got[1].logits, want.logits) {
					t.Errorf("%d tokens: got %v, %q, length %d, want %v, %q, length %d; %d bits of logits, the same: %v",
						n, got[1].text, got[1].reason, got[1].length, want.text, want.reason, want.length, len(want.logits), slices.Equal(got[1].logits, want.logits))
				}
			}
		})
	}
}

// aheadEnd is what a text comes to, with the bits of logits at its end and after.
type aheadEnd struct {
	text   []int32
	reason session.StopReason
	length int
	logits []uint32
}

// endOf generates after a prompt of n tokens beside another sequence, and goes on with both
// after the end.
func endOf(t *testing.T, s *session.Session, n int, options func(o *session.GenerateOptions, alone []int32) context.Context) (out aheadEnd) {
	t.Helper()
	prompt := make([]int32, n)
	for i := range prompt {
		prompt[i] = int32((i*i + 3*n) % s.Vocab())
	}
	begin := func() *session.Sequence {
		q, err := s.Open()
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Extend(t.Context(), prompt, nil); err != nil {
			t.Fatal(err)
		}
		return q
	}
	q, other := begin(), begin()
	var alone []int32 // what comes, as the other sequence says
	_, _, err := other.Generate(t.Context(), session.GenerateOptions{MaxTokens: 4, Sampling: sampling.Greedy(), Emit: func(token int32) error {
		alone = append(alone, token)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	o := session.GenerateOptions{Sampling: sampling.Greedy()}
	ctx := options(&o, alone)
	emit := o.Emit
	o.Emit = func(token int32) error {
		out.text = append(out.text, token)
		if emit != nil {
			return emit(token)
		}
		return nil
	}
	_, out.reason, err = q.Generate(ctx, o)
	if (err != nil) != (out.reason == "") {
		t.Fatal(err)
	}
	out.length = q.Len()
	note := func(logits []float32) {
		for _, v := range logits {
			out.logits = append(out.logits, math.Float32bits(v))
		}
	}
	note(q.Logits())
	for _, x := range []*session.Sequence{other, q} {
		for x.Len() < s.Options().Context && x.Len() < n+9 {
			if err := x.Extend(t.Context(), []int32{int32(x.Len()) % int32(s.Vocab())}, nil); err != nil {
				t.Fatal(err)
			}
			note(x.Logits())
		}
	}
	return out
}
