package metal

import (
	"errors"
	"testing"
	"time"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/metal/fake"
	"smelt.example/smelt/internal/runtime/metal/objc"
	"smelt.example/smelt/ir"
)

var (
	_ device.Runner = (*Device)(nil)
	_ device.Timed  = (*Device)(nil)
)

// TestAheadTaken: the very text that a Mac would compile, in command buffers that are begun
// while others are to be waited for, leaves no trace of what is taken back.
func TestAheadTaken(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the stand-in takes some seconds")
	}
	t.Parallel()
	devicetest.Ahead(t, devicetest.Fixture("a-bf16"), 3, 6, open(fake.Options{Residency: true}))
}

// ahead runs steps of a text, each begun while the one before runs.
func ahead(d *Device, n int, each func(i int)) error {
	if err := steps(d, 1); err != nil {
		return err
	}
	row, first, source, tokens := make([]ir.Row, 1), []int{0}, []int32{0}, make([]int32, 1)
	begin := func(source []int32) error {
		row[0] = ir.Row{Token: 5, Position: int32(d.Length(0))}
		return d.BeginDecode(row, source, first)
	}
	if err := begin(nil); err != nil {
		return err
	}
	for i := range n {
		if d.Length(0) == 200 {
			return errors.New("the text is too long")
		}
		if err := d.BeginPick(greedy); err != nil {
			return err
		}
		if err := begin(source); err != nil {
			return err
		}
		if err := d.Await(tokens); err != nil {
			return err
		}
		each(i)
	}
	return nil
}

// TestAheadQueue: whenever a token has come the GPU has the next step already, encoded
// while the one before was to be waited for, into a block of its own; the host waits once
// a token.
func TestAheadQueue(t *testing.T) {
	for name, o := range map[string]fake.Options{"macOS 15": {Residency: true}, "macOS 14": {}, "a slow GPU": {Residency: true, Timeouts: 3}} {
		t.Run(name, func(t *testing.T) {
			g, d := openFake(t, o, Options{})
			if !d.Ahead() {
				t.Fatal("the GPU is said not to work beside the host")
			}
			q, s := d.machine.queue, d.machine.steps[program.Decode]
			block, from := -1, g.fake.Calls()
			err := ahead(d, 100, func(i int) {
				if q.value-q.ended != 1 {
					t.Fatalf("token %d: the GPU has %d starts to do", i, q.value-q.ended)
				}
				// What runs is the step that follows, and its parameters are not those before.
				last, end := q.running[len(q.running)-1], s.plan.Picks()
				for s.jobs[end-1].idle() { // of more rows
					end--
				}
				if last.step != s || last.first != 0 || last.last != end || s.block == block || s.reads[s.block] != q.value {
					t.Fatalf("token %d: %+v in block %d after %d", i, last, s.block, block)
				}
				block = s.block
			})
			if err != nil {
				t.Fatal(err)
			}
			waits := g.fake.Calls()["waitUntilSignaledValue:timeoutMS:"] - from["waitUntilSignaledValue:timeoutMS:"]
			if o.Timeouts == 0 && waits != 2+100 { // two steps before
				t.Errorf("the host waited %d times for 100 tokens", waits)
			}
			busy, idle, err := d.Timeline()
			if err != nil || busy <= 0 || idle > busy/10 { // the fake's GPU rests a little between command buffers
				t.Errorf("the GPU worked for %v and idled for %v: %v", busy, idle, err)
			}
			if step, err := d.StepTime(); err != nil || step <= 0 || step > time.Minute {
				t.Errorf("a step of %v: %v", step, err)
			}
		})
	}
}

// TestAheadFault: a fault of the step that runs ahead is its token's; nothing runs after
// it, and all is given back.
func TestAheadFault(t *testing.T) {
	left := 0
	g := newGPU(t, fake.Options{Residency: true, Fault: func(*fake.Dispatch) int {
		if left--; left == 0 {
			return objc.FailedPageFault
		}
		return 0
	}})
	b, ck := compiledFixture()
	d, err := g.open(b, ck, Options{})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = ahead(d, 10, func(i int) {
		if seen++; i == 3 {
			left = d.machine.steps[program.Decode].plan.Picks()/2 + 1 // within the next but one
		}
	})
	var e *objc.Error
	if !errors.As(err, &e) || e.Code != objc.FailedPageFault || seen < 4 || seen > 6 {
		t.Errorf("after %d tokens: %v", seen, err)
	}
	if err := d.Await(make([]int32, 1)); err == nil {
		t.Error("a token of a step that failed")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if live := g.fake.Live(); len(live) != 0 {
		t.Errorf("after the fault there are still %v", live)
	}
}

// TestAheadAllocates: nothing, a token.
func TestAheadAllocates(t *testing.T) {
	_, d := openFake(t, fake.Options{Residency: true}, Options{})
	row, first, source, tokens := make([]ir.Row, 1), []int{0}, []int32{0}, make([]int32, 1)
	step := func() {
		if d.Length(0) == 200 {
			d.Reset(0)
		}
		row[0] = ir.Row{Token: 5, Position: int32(d.Length(0))}
		if err := errors.Join(d.BeginPick(greedy), d.BeginDecode(row, source, first), d.Await(tokens)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.BeginDecode([]ir.Row{{Token: 1}}, nil, first); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		step()
	}
	if n := testing.AllocsPerRun(70, step); n > 0 {
		t.Errorf("%v allocations a token", n)
	}
}
