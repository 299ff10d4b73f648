package scheduler

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

const fakeVocab = 61

// fake is a device whose logits depend on all tokens its slot has seen, and on
// nothing else. It refuses rows that do not follow on and too many of them, and
// writes down what it ran.
type fake struct {
	seen map[int32][]int32
	// gate, if not nil, lets one step pass for each value.
	gate chan struct{}
	// log has "P slot:rows" or "D slot slot ..." for each step.
	log []string
	// fail may end a step.
	fail func(kind string, rows []ir.Row) error
}

func newFake() *fake { return &fake{seen: map[int32][]int32{}} }

func (*fake) Name() string { return "fake" }

func (*fake) Vocab() int { return fakeVocab }

func (*fake) Close() error { return nil }

func (f *fake) Reset(slot int32) { delete(f.seen, slot) }

func (f *fake) Prefill(rows []ir.Row, wanted []int) ([]float32, error) {
	return f.step("P", fmt.Sprintf("P %d:%d", rows[0].Slot, len(rows)), rows, wanted)
}

func (f *fake) Decode(rows []ir.Row, wanted []int) ([]float32, error) {
	line := "D"
	for _, r := range rows {
		line += fmt.Sprint(" ", r.Slot)
	}
	if len(rows) > program.MaxDecodeRows {
		return nil, fmt.Errorf("%d rows", len(rows))
	}
	return f.step("D", line, rows, wanted)
}

func (f *fake) step(kind, line string, rows []ir.Row, wanted []int) (out []float32, err error) {
	if f.gate != nil {
		<-f.gate
	}
	if f.fail != nil {
		if err := f.fail(kind, rows); err != nil {
			return nil, err
		}
	}
	for i, r := range rows {
		if int(r.Position) != len(f.seen[r.Slot]) {
			return nil, fmt.Errorf("row %d: slot %d goes on at %d, not %d", i, r.Slot, len(f.seen[r.Slot]), r.Position)
		}
		f.seen[r.Slot] = append(f.seen[r.Slot], r.Token)
		if slices.Contains(wanted, i) {
			out = append(out, fakeLogits(f.seen[r.Slot])...)
		}
	}
	f.log = append(f.log, line)
	return out, nil
}

func fakeLogits(tokens []int32) []float32 {
	h := uint64(14695981039346656037)
	for _, t := range tokens {
		h = (h ^ uint64(t)) * 1099511628211
	}
	rng := rand.New(rand.NewPCG(h, 0))
	out := make([]float32, fakeVocab)
	for i := range out {
		out[i] = float32(rng.NormFloat64())
	}
	return out
}

var errBroken = errors.New("the device is broken")

func newSession(t testing.TB, d device.Device, o session.Options) *session.Session {
	t.Helper()
	s, err := session.New(d, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func start(t testing.TB, d device.Device, so session.Options, o Options) *Scheduler {
	t.Helper()
	s, err := New(newSession(t, d, so), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func submit(t testing.TB, s *Scheduler, r Request) *Generation {
	t.Helper()
	g, err := s.Submit(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// greedy asks for n tokens after a prompt of the given length.
func greedy(length, n int) Request {
	r := Request{MaxTokens: n, Sampling: sampling.Greedy()}
	for i := range length {
		r.Prompt = append(r.Prompt, int32((length+7*i)%fakeVocab))
	}
	return r
}

// outcome is what a generation comes to.
type outcome struct {
	tokens []int32
	reason session.StopReason
}

// solo is what session.Generate makes of a request that has a device to itself.
func solo(t testing.TB, d device.Device, o session.Options, r Request) (out outcome) {
	t.Helper()
	q, err := newSession(t, d, o).Open()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if err := q.Extend(t.Context(), r.Prompt, nil); err != nil {
		t.Fatal(err)
	}
	emit := func(token int32) error {
		out.tokens = append(out.tokens, token)
		return nil
	}
	_, out.reason, err = q.Generate(t.Context(), session.GenerateOptions{MaxTokens: r.MaxTokens, Sampling: r.Sampling, Allowed: r.Allowed, Prompt: r.Prompt, Stop: r.Stop, Emit: emit})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func expect(t testing.TB, g *Generation, want outcome) {
	t.Helper()
	tokens, reason, err := g.Wait()
	if err != nil || reason != want.reason || !slices.Equal(tokens, want.tokens) {
		t.Errorf("got %v, %q, %v\nwant %v, %q", tokens, reason, err, want.tokens, want.reason)
	}
}

func expectLog(t testing.TB, f *fake, want ...string) {
	t.Helper()
	if !slices.Equal(f.log, want) {
		t.Errorf("steps\n got  %s\n want %s", strings.Join(f.log, ", "), strings.Join(want, ", "))
	}
}
