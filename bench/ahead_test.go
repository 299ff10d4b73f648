package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// aheadFake is a fake that works beside the host, by its log: a step takes 3 ms, and it
// has nothing to do for one before each.
type aheadFake struct {
	*fake
	waiting    int
	busy, idle time.Duration
}

var (
	_ device.Runner = (*aheadFake)(nil)
	_ device.Timed  = (*aheadFake)(nil)
)

func (f *aheadFake) Ahead() bool { return true }

func (f *aheadFake) BeginDecode(rows []ir.Row, sources []int32, wanted []int) error {
	_, err := f.Decode(rows, wanted)
	f.log[len(f.log)-1] += fmt.Sprintf(", tokens of %v, %d not known", sources, f.waiting)
	return err
}

func (f *aheadFake) Decode(rows []ir.Row, wanted []int) ([]float32, error) {
	f.busy, f.idle = f.busy+3*time.Millisecond, f.idle+time.Millisecond
	return f.fake.Decode(rows, wanted)
}

func (f *aheadFake) BeginPick(choices []sampling.Choice) error {
	f.waiting += len(choices)
	return nil
}

func (f *aheadFake) Await(tokens []int32) error {
	f.waiting -= len(tokens)
	return nil
}

func (f *aheadFake) TakeBack(int32, int) error               { return nil }
func (f *aheadFake) LastLogits(int) ([]float32, error)       { return nil, nil }
func (f *aheadFake) Timeline() (a, b time.Duration, e error) { return f.busy, f.idle, nil }

// TestRunAhead: on a device that works beside the host the steps after the first begin
// before the tokens of those before are known, none past the end, and the report has what
// the device idled.
func TestRunAhead(t *testing.T) {
	f := &aheadFake{fake: newFake(t, bundle.Options{Context: 64, Chunk: 16, Slots: 2})}
	r, err := Run(context.Background(), f, RunOptions{Frontiers: []int{10}, Generate: 4, Rows: []int{1, 2}, Tokens: []int32{1, 2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	want := `prefill 16 rows from 0, mode 0
decode 1 rows from 16, mode 0
prefill 10 rows from 0, mode 0
decode 1 rows from 10, mode 0
decode 1 rows from 11, mode 0, tokens of [], 0 not known
decode 1 rows from 12, mode 0, tokens of [0], 1 not known
decode 1 rows from 13, mode 0, tokens of [0], 1 not known
decode 2 rows from 10, mode 0
decode 2 rows from 11, mode 0, tokens of [], 0 not known
decode 2 rows from 12, mode 0, tokens of [0 1], 2 not known
decode 2 rows from 13, mode 0, tokens of [0 1], 2 not known`
	if got := strings.Join(slices.DeleteFunc(f.log, func(line string) bool { return line == "roofline" }), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, d := range r.Frontiers[0].Decode {
		if d.Tokens != 4 || d.Idle == nil || *d.Idle != 0.25 {
			t.Errorf("%+v", d)
		}
	}
	if f.waiting != 0 {
		t.Errorf("%d tokens were not waited for", f.waiting)
	}
}
