package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// collect returns options whose Emit appends to out.
func collect(out *[]int32, o session.GenerateOptions) session.GenerateOptions {
	o.Emit = func(token int32) error {
		*out = append(*out, token)
		return nil
	}
	return o
}

// greedyIDs are the 16 most likely continuations of the fixtures' prompts p0,
// p1 and p2, as the float64 reference that made the fixtures computed them.
var greedyIDs = map[string][3][16]int32{
	"a-bf16": {
		{131, 97, 152, 116, 74, 71, 74, 71, 74, 71, 74, 52, 169, 169, 169, 169},
		{97, 139, 142, 1, 242, 124, 242, 214, 31, 52, 97, 94, 24, 64, 169, 79},
		{245, 132, 32, 93, 180, 117, 74, 113, 94, 212, 235, 221, 92, 138, 24, 7},
	},
	"a-mlx-4bit-stacked": {
		{51, 95, 219, 231, 56, 168, 169, 168, 169, 231, 150, 68, 231, 2, 79, 2},
		{55, 175, 196, 220, 170, 232, 175, 23, 183, 232, 251, 199, 55, 132, 138, 114},
		{219, 36, 164, 17, 244, 105, 74, 15, 69, 52, 147, 26, 94, 138, 203, 105},
	},
	"a-mlx-sanitized": {
		{131, 131, 131, 97, 162, 74, 79, 74, 79, 55, 166, 52, 172, 162, 203, 250},
		{147, 23, 101, 169, 113, 176, 145, 169, 113, 206, 74, 113, 145, 244, 213, 17},
		{87, 0, 24, 87, 105, 111, 111, 111, 111, 231, 111, 231, 138, 180, 1, 9},
	},
	"b-official-fp8fp4": {
		{306, 244, 8, 127, 93, 163, 158, 207, 41, 128, 33, 215, 289, 79, 2, 210},
		{295, 292, 144, 224, 228, 257, 144, 279, 286, 270, 156, 90, 144, 251, 100, 92},
		{128, 53, 137, 199, 82, 128, 234, 54, 182, 129, 245, 156, 229, 13, 297, 244},
	},
	"c-mlx-4bit-stacked": {
		{134, 350, 352, 179, 151, 137, 187, 226, 369, 204, 150, 111, 187, 84, 312, 318},
		{184, 32, 140, 203, 77, 203, 203, 203, 203, 203, 203, 182, 188, 272, 328, 156},
		{221, 221, 11, 293, 283, 3, 135, 190, 135, 116, 29, 82, 213, 278, 29, 377},
	},
}

// sharedGreedy reads the same from the golden.json of a fixture outside the
// repository.
func sharedGreedy(t *testing.T, dir string) (out [3][16]int32) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Prompts []struct{ Greedy []int32 }
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Prompts) != 3 {
		t.Fatalf("%d prompts, expected 3", len(g.Prompts))
	}
	for i, p := range g.Prompts {
		if copy(out[i][:], p.Greedy) != 16 {
			t.Fatalf("%d greedy tokens, expected 16", len(p.Greedy))
		}
	}
	return out
}

func TestGenerateGreedyGolden(t *testing.T) {
	for _, s := range subjects(t)[1:] {
		t.Run(s.name, func(t *testing.T) {
			want, ok := greedyIDs[s.name]
			if !ok {
				want = sharedGreedy(t, s.dir)
			}
			sess := newSession(t, s.device(t), session.Options{Context: 320})
			for i, prompt := range s.prompts {
				q := openSequence(t, sess)
				extend(t, q, prompt)
				var got []int32
				n, reason, err := q.Generate(t.Context(), collect(&got, session.GenerateOptions{MaxTokens: 16, Sampling: sampling.Greedy()}))
				if err != nil || n != 16 || reason != session.StopLength || !slices.Equal(got, want[i][:]) {
					t.Errorf("p%d: %d tokens, %q, %v\n got  %v\n want %v", i, n, reason, err, got, want[i])
				}
				if q.Len() != len(prompt)+15 {
					t.Errorf("p%d: length %d; the last token's logits are not needed", i, q.Len())
				}
				q.Close()
			}
		})
	}
}

// chain is what the fake continues prompt with, greedily.
func chain(prompt []int32, n int) (out []int32) {
	tokens := slices.Clone(prompt)
	for range n {
		logits := fakeLogits(tokens)
		next := int32(slices.Index(logits, slices.Max(logits)))
		out, tokens = append(out, next), append(tokens, next)
	}
	return out
}

// TestGenerateEnds has a way to end a row. The fake goes on with tokens.
func TestGenerateEnds(t *testing.T) {
	prompt := []int32{3, 1, 4}
	tokens := chain(prompt, 40)
	first := func(token int32) int { return slices.Index(tokens, token) }
	for _, c := range []struct {
		name    string
		context int
		max     int
		stop    []int32
		want    int
		reason  session.StopReason
		length  int
	}{
		{"one token", 100, 1, nil, 1, session.StopLength, 3},
		{"ten tokens", 100, 10, nil, 10, session.StopLength, 12},
		{"stop token", 100, 0, []int32{tokens[7]}, first(tokens[7]), session.StopToken, 3 + first(tokens[7])},
		{"the first of stop tokens", 100, 0, []int32{tokens[20], tokens[5]}, min(first(tokens[20]), first(tokens[5])), session.StopToken, 3 + min(first(tokens[20]), first(tokens[5]))},
		{"stop token at once", 100, 5, []int32{tokens[0]}, 0, session.StopToken, 3},
		{"stop token after the length", 100, first(tokens[7]), []int32{tokens[7]}, first(tokens[7]), session.StopLength, 2 + first(tokens[7])},
		{"context", 10, 0, nil, 7, session.StopContext, 10},
		{"context before length", 10, 8, nil, 7, session.StopContext, 10},
		{"length with the context", 10, 7, nil, 7, session.StopLength, 9},
		{"context is full already", 3, 0, nil, 0, session.StopContext, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			q := openSequence(t, newSession(t, f, session.Options{Context: c.context}))
			extend(t, q, prompt)
			var got []int32
			o := session.GenerateOptions{MaxTokens: c.max, Stop: c.stop, Sampling: sampling.Greedy()}
			n, reason, err := q.Generate(t.Context(), collect(&got, o))
			if err != nil || n != c.want || reason != c.reason || !slices.Equal(got, tokens[:c.want]) {
				t.Errorf("got %d tokens %v, %q, %v; want %d of %v, %q", n, got, reason, err, c.want, tokens, c.reason)
			}
			if q.Len() != c.length || len(f.seen[0]) != c.length {
				t.Errorf("length %d, on the device %d; want %d", q.Len(), len(f.seen[0]), c.length)
			}
			silent := openSequence(t, newSession(t, newFake(), session.Options{Context: c.context}))
			extend(t, silent, prompt)
			if n, reason, err := silent.Generate(t.Context(), o); n != c.want || reason != c.reason || err != nil {
				t.Errorf("without Emit: %d tokens, %q, %v", n, reason, err)
			}
		})
	}
}

// TestGenerateInParts: after StopLength the last token is the caller's to add,
// and the text goes on as if there had been no stop.
func TestGenerateInParts(t *testing.T) {
	prompt := []int32{3, 1, 4}
	q := openSequence(t, newSession(t, newFake(), session.Options{Context: 100}))
	extend(t, q, prompt)
	var got []int32
	for range 3 {
		if _, _, err := q.Generate(t.Context(), collect(&got, session.GenerateOptions{MaxTokens: 4, Sampling: sampling.Greedy()})); err != nil {
			t.Fatal(err)
		}
		extend(t, q, got[len(got)-1:])
	}
	if want := chain(prompt, 12); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestGenerateCancelled(t *testing.T) {
	prompt := []int32{3, 1, 4}
	q := openSequence(t, newSession(t, newFake(), session.Options{Context: 100}))
	extend(t, q, prompt)
	ctx, cancel := context.WithCancel(t.Context())
	var got []int32
	o := session.GenerateOptions{Sampling: sampling.Greedy(), Emit: func(token int32) error {
		if got = append(got, token); len(got) == 5 {
			cancel()
		}
		return nil
	}}
	n, reason, err := q.Generate(ctx, o)
	if n != 5 || reason != session.StopCancelled || err != nil || q.Len() != 8 {
		t.Errorf("got %d tokens, %q, %v, length %d; want 5, interrupted, length 8", n, reason, err, q.Len())
	}
	if n, reason, err := q.Generate(ctx, o); n != 0 || reason != session.StopCancelled || err != nil {
		t.Errorf("with a context that has ended: %d tokens, %q, %v", n, reason, err)
	}
	if _, _, err := q.Generate(t.Context(), collect(&got, session.GenerateOptions{MaxTokens: 5, Sampling: sampling.Greedy()})); err != nil || !slices.Equal(got, chain(prompt, 10)) {
		t.Errorf("it does not go on where it was: %v, %v", got, err)
	}
}

func TestGenerateErrors(t *testing.T) {
	broken := errors.New("broken")
	bad := sampling.Params{TopP: 2}
	for _, c := range []struct {
		name   string
		prompt []int32
		o      session.GenerateOptions
		device error // at position 5
		logits float32
		want   string
		n      int
		length int
	}{
		{name: "nothing to go on from", o: session.GenerateOptions{Sampling: sampling.Greedy()}, want: "nothing to go on from", length: 0},
		{name: "sampling flags", prompt: []int32{1}, o: session.GenerateOptions{Sampling: bad}, want: "TopP", length: 1},
		{name: "emit", prompt: []int32{1, 2}, o: session.GenerateOptions{Sampling: sampling.Greedy(), Emit: func(int32) error { return broken }}, want: "broken", length: 2},
		{name: "device", prompt: []int32{1, 2}, o: session.GenerateOptions{Sampling: sampling.Greedy()}, device: broken, want: "broken", n: 4, length: 5},
		{name: "logits that are no numbers", prompt: []int32{1, 2}, o: session.GenerateOptions{Sampling: sampling.Greedy()}, logits: float32(math.NaN()), want: "position 2: sampling: no logit is a number", length: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			f.before = func(rows []ir.Row, _ []int) error {
				if rows[0].Position == 5 {
					return c.device
				}
				return nil
			}
			var d device.Device = f
			if c.logits != 0 {
				d = constant{f, c.logits}
			}
			q := openSequence(t, newSession(t, d, session.Options{Context: 20}))
			extend(t, q, c.prompt)
			n, reason, err := q.Generate(t.Context(), c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) || reason != "" || n != c.n || q.Len() != c.length || len(f.seen[0]) != c.length {
				t.Errorf("got %d tokens, reason %q, error %v, length %d; want %d tokens, %q, length %d", n, reason, err, q.Len(), c.n, c.want, c.length)
			}
			if c.device == nil {
				return
			}
			f.before = nil
			extend(t, q, chain(c.prompt, 4)[3:])
			if !slices.Equal(q.Logits(), fakeLogits(append(c.prompt, chain(c.prompt, 4)...))) {
				t.Error("after the error the sequence does not go on where it was")
			}
		})
	}
}

// constant is a device all of whose logits are one number.
type constant struct {
	*fake
	logit float32
}

func (c constant) Prefill(rows []ir.Row, wanted []int) ([]float32, error) {
	return c.Step(rows, wanted)
}

func (c constant) Decode(rows []ir.Row, wanted []int) ([]float32, error) { return c.Step(rows, wanted) }

func (c constant) Step(rows []ir.Row, wanted []int) ([]float32, error) {
	logits, err := c.fake.Step(rows, wanted)
	for i := range logits {
		logits[i] = c.logit
	}
	return logits, err
}

// TestGenerateSamples: each token is what package sampling picks from the
// logits before it, for the sequence's slot and the token's position.
func TestGenerateSamples(t *testing.T) {
	sess := newSession(t, newFake(), session.Options{Slots: 3, Context: 100})
	params := sampling.Params{Temperature: 1.5, TopK: 40, TopP: 0.9, MinP: 0.01, Seed: 11}
	for slot := range uint64(3) {
		q := openSequence(t, sess)
		tokens := []int32{3, 1, 4}
		extend(t, q, tokens)
		var got []int32
		if _, _, err := q.Generate(t.Context(), collect(&got, session.GenerateOptions{MaxTokens: 30, Sampling: params})); err != nil {
			t.Fatal(err)
		}
		for i, token := range got {
			want, err := sampling.Sample(fakeLogits(tokens), params, slot, uint64(len(tokens)), nil)
			if err != nil || token != want {
				t.Fatalf("slot %d, token %d is %d, want %d (%v)", slot, i, token, want, err)
			}
			tokens = append(tokens, token)
		}
		if len(got) != 30 {
			t.Errorf("slot %d: %d tokens", slot, len(got))
		}
	}
}

// TestGenerateSeed: the same seed gives the same text, however the prompt was
// cut and whoever else is there; another seed another text.
func TestGenerateSeed(t *testing.T) {
	eachSubject(t, func(t *testing.T, s subject) {
		text := func(seed uint64, chunk int, companions bool) (got []int32) {
			sess := newSession(t, s.device(t), session.Options{Slots: 2, Chunk: chunk, Context: 60})
			q := openSequence(t, sess)
			if companions {
				extend(t, openSequence(t, sess), s.prompts[0])
			}
			extend(t, q, s.prompts[1])
			o := session.GenerateOptions{MaxTokens: 20, Sampling: sampling.Params{Temperature: 1, TopP: 0.99, Seed: seed}}
			if _, _, err := q.Generate(t.Context(), collect(&got, o)); err != nil {
				t.Fatal(err)
			}
			return got
		}
		want := text(5, 0, false)
		if len(want) != 20 {
			t.Fatalf("%d tokens, expected 20", len(want))
		}
		if again := text(5, 9, true); !slices.Equal(again, want) {
			t.Errorf("the same seed gives %v and %v", want, again)
		}
		if other := text(6, 0, false); slices.Equal(other, want) {
			t.Errorf("seeds 5 and 6 both give %v", want)
		}
	})
}
