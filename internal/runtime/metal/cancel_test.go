package metal

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/metal/fake"
	"smelt.example/smelt/internal/runtime/session"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// hooked opens the fixture on a machine that calls a function at each dispatch.
func hooked(t *testing.T, hook *func(*fake.Dispatch)) (*gpu, *Device) {
	t.Helper()
	g, d := openFake(t, fake.Options{Residency: true, Execute: func(x *fake.Dispatch) error {
		if *hook != nil {
			(*hook)(x)
		}
		return nil
	}}, Options{})
	return g, d
}

// TestCancel: a text that is ended in the middle of a step, as by Ctrl-C, ends
// with that step. Nothing runs on the GPU afterwards, and nothing stays there. Where texts
// are generated the step is one that runs ahead: it is taken back, and the one before it
// runs again, for the logits.
func TestCancel(t *testing.T) {
	for _, phase := range []program.Phase{program.Prefill, program.Decode} {
		if testing.Short() && phase == program.Prefill {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		var hook func(*fake.Dispatch)
		g, d := hooked(t, &hook)
		s, err := session.New(d, session.Options{Chunk: 2, Context: 64, Slots: 1})
		if err != nil {
			t.Fatal(err)
		}
		q, err := s.Open()
		if err != nil {
			t.Fatal(err)
		}
		steps := 0 // that came to their middle
		midst := func(x *fake.Dispatch) {
			if x.Index == 30 {
				if steps++; steps == 2 {
					cancel()
				}
			}
		}
		if phase == program.Prefill {
			hook = midst
		}
		err = q.Extend(ctx, []int32{1, 2, 3, 4, 5, 6, 7}, nil)
		if phase == program.Prefill && (!errors.Is(err, context.Canceled) || q.Len() != 4) || phase == program.Decode && err != nil {
			t.Fatalf("%s: %v, %d tokens", phase, err, q.Len())
		}
		if phase == program.Decode {
			hook = midst
			if _, reason, err := q.Generate(ctx, session.GenerateOptions{Sampling: sampling.Params{TopP: 1}}); reason != session.StopCancelled || err != nil || q.Len() != 8 {
				t.Errorf("generating ended with %q, %v after %d tokens", reason, err, q.Len())
			}
		}
		if want := map[program.Phase]int{program.Prefill: 2, program.Decode: 3}[phase]; steps != want {
			t.Errorf("%s: %d steps ran; expected %d", phase, steps, want)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if live := g.fake.Live(); len(live) != 0 {
			t.Errorf("%s: after Close there are still %v", phase, live)
		}
	}
}

// TestCloseBesideAStep: Close waits for the step that runs; steps after it fail,
// and so does what reads results.
func TestCloseBesideAStep(t *testing.T) {
	var hook func(*fake.Dispatch)
	_, d := hooked(t, &hook)
	if err := steps(d, 1); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	hook = func(*fake.Dispatch) {
		hook = nil
		go func() { closed <- d.Close() }()
		for range 100 {
			runtime.Gosched()
		}
		select {
		case <-closed:
			t.Error("Close ended while a step ran")
		default:
		}
	}
	row, tokens := []ir.Row{{Token: 5, Position: 4}}, make([]int32, 1)
	if err := d.SampleDecode(row, []int{0}, greedy, tokens); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	for what, f := range map[string]func() error{
		"decode":   func() error { return d.SampleDecode(row, []int{0}, greedy, tokens) },
		"prefill":  func() error { _, err := d.Prefill(row, []int{0}); return err },
		"logits":   func() error { _, err := d.LastLogits(0); return err },
		"time":     func() error { _, err := d.StepTime(); return err },
		"roofline": func() error { _, err := d.Roofline(); return err },
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}
