package planned_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models/checkpoint"
	"smelt.example/smelt/runtime/sampling"
)

// TestAhead: on a machine where nothing runs before it is waited for, rows take tokens
// that were not there when their step was begun.
func TestAhead(t *testing.T) {
	if testing.Short() {
		t.Skip("the interpreter takes its time")
	}
	devicetest.Ahead(t, devicetest.Fixture("a-bf16"), 1, 4, func(t testing.TB, b *bundle.Bundle, ck *checkpoint.Checkpoint, _ func(string, []byte)) device.Planned {
		m := &trial{ck: ck, runs: true, room: devicetest.KeptRoom}
		d, err := planned.Open(b, ck, planned.Options{Name: "trial"}, m.made)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if m.broken != nil {
				t.Error(m.broken)
			}
		})
		return d
	})
}

// TestAheadCounts: a step is started while the one before is still to be waited for, no
// more is waited for than must be, and 4 bytes a token are read.
func TestAheadCounts(t *testing.T) {
	m := &trial{}
	d := open(t, m, planned.Options{})
	if d.Ahead() {
		t.Error("the trial machine says that it works beside the host")
	}
	for slot, n := range []int{9, 5} {
		if _, err := d.Prefill(rows(d, int32(slot), n), nil); err != nil {
			t.Fatal(err)
		}
	}
	step := d.Bundle().Plan.Step(program.Decode)
	picks := step.Scoring() - step.Picks()
	if picks < 1 || step.Picks() < 10 {
		t.Fatalf("%d of %d dispatches pick tokens", picks, len(step.Dispatches))
	}
	both := func() []ir.Row { return append(rows(d, 0, 1), rows(d, 1, 1)...) }
	choices, tokens, wanted := make([]sampling.Choice, 2), make([]int32, 2), []int{0, 1}
	check := func(what string, err error, want counts) {
		t.Helper()
		if err != nil || m.counts != want {
			t.Fatalf("%s: %+v, %v; expected %+v", what, m.counts, err, want)
		}
		m.counts = counts{}
	}
	m.counts = counts{}
	check("begun", d.BeginDecode(both(), nil, wanted), counts{Starts: 1})
	for range 3 {
		check("picks", d.BeginPick(choices), counts{Starts: 1})
		check("ahead", d.BeginDecode(both(), []int32{0, 1}, wanted), counts{Starts: 1})
		// It waits for the step and its tokens, and leaves the one that is ahead.
		check("waited", d.Await(tokens), counts{Waits: 1, Dispatches: step.Scoring(), Read: 8})
		if len(m.queue) != 1 {
			t.Fatalf("%d starts are left of one", len(m.queue))
		}
	}
	// Scores are a start of their own, between the picks and the step ahead, and are waited for
	// with the tokens.
	asks, scores := []program.Ask{{Row: 1, Token: -1, Top: 3}}, make([]device.Score, 1)
	check("picks", d.BeginPick(choices), counts{Starts: 1})
	check("scores", d.BeginScore(asks), counts{Starts: 1})
	check("ahead of scores", d.BeginDecode(both(), []int32{0, 1}, wanted), counts{Starts: 1})
	check("waited", d.Await(tokens), counts{Waits: 1, Dispatches: len(step.Dispatches), Read: 8})
	check("scored", d.AwaitScore(scores), counts{Read: 4 * program.ScoreWords})
	if len(m.queue) != 1 {
		t.Fatalf("%d starts are left of one", len(m.queue))
	}
	if n := [2]int{d.Length(0), d.Length(1)}; n != [2]int{14, 10} {
		t.Errorf("the slots have %v tokens", n)
	}
	if err := d.TakeBack(0, 13); err != nil || d.Length(0) != 13 || d.Length(1) != 10 || m.counts != (counts{}) {
		t.Errorf("%d and %d tokens after one of the first was taken back, %+v, %v", d.Length(0), d.Length(1), m.counts, err)
	}
	// What was begun and not picked is waited for by the step that comes next.
	if err := d.SampleDecode(both(), wanted, choices, tokens); err != nil || m.Waits != 2 || len(m.queue) != 0 {
		t.Errorf("a step after one that was given up: %+v, %v", m.counts, err)
	}
}

// TestAheadRefused: calls out of order say so, and change nothing.
func TestAheadRefused(t *testing.T) {
	m := &trial{}
	d := open(t, m, planned.Options{})
	one, first, choices, tokens := func() []ir.Row { return rows(d, 0, 1) }, []int{0}, make([]sampling.Choice, 1), make([]int32, 1)
	refuse := func(what string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", what, err, want)
		}
	}
	refuse("picking before a step", d.BeginPick(choices), "no step was begun")
	refuse("waiting for nothing", d.Await(tokens), "no step picks")
	refuse("sources of other rows", d.BeginDecode(one(), []int32{0, 0}, first), "sources of 2 tokens, of 1 rows")
	refuse("a source that nobody picked", d.BeginDecode(one(), []int32{0}, first), "follows on token 0, of 0 that were picked")
	refuse("a token outside the vocabulary", d.BeginDecode([]ir.Row{{Token: -1}}, []int32{0}, first), "token -1")
	refuse("back in an empty slot", d.TakeBack(0, 1), "cannot go back to 1")
	refuse("back in no slot", d.TakeBack(2, 0), "slot 2; expected 0 to 1")
	if d.Length(0) != 0 || m.Starts != 0 {
		t.Fatalf("%d tokens and %d starts of what was refused", d.Length(0), m.Starts)
	}
	for range 2 {
		if err := d.BeginDecode(one(), nil, first); err != nil {
			t.Fatal(err)
		}
		refuse("scores of a step whose tokens nobody picks yet", d.BeginScore([]program.Ask{{Token: 1}}), "no step was begun last whose tokens are being picked")
		refuse("two choices for one row", d.BeginPick(make([]sampling.Choice, 2)), "2 choices, for 1 wanted rows")
		if err := d.BeginPick(choices); err != nil {
			t.Fatal(err)
		}
		refuse("picking twice", d.BeginPick(choices), "no step was begun")
	}
	refuse("a source beyond those that were picked", func() error {
		if err := d.Await(tokens); err != nil {
			t.Fatal(err)
		}
		err := d.BeginDecode(one(), []int32{1}, first)
		if err := errors.Join(d.BeginDecode(one(), []int32{0}, first), d.BeginPick(choices)); err != nil {
			t.Fatal(err)
		}
		return err
	}(), "follows on token 1, of 1 that were picked")
	refuse("a third step while the host reads two", d.BeginDecode(one(), nil, first), "were not waited for")
	ask, score := []program.Ask{{Token: -1}}, make([]device.Score, 1)
	refuse("scores of two tokens, of a step that picks one", d.BeginScore(append(ask, ask...)), "2 tokens to score, of a step that picks 1")
	refuse("scores of a step that is on its way", d.BeginScore([]program.Ask{{Row: 1}}), "row 1; the step has 1 wanted rows")
	refuse("scores that nobody asked for", d.AwaitScore(score), "room for 1 scores")
	refuse("room for two tokens", d.Await(make([]int32, 2)), "room for 2 tokens")
	if err := d.Await(tokens); err != nil || !slices.Equal(tokens, []int32{0}) {
		t.Errorf("%v, %v", tokens, err)
	}
}
