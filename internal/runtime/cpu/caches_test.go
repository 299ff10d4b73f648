package cpu

import (
	"slices"
	"sync"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/internal/runtime/profile"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
	"smelt.example/smelt/models/checkpoint"
)

// cached is a device whose slots are gone back in, copied and stretched.
type cached struct {
	*testing.T
	*Device
	tokens []int32
}

// compiled is what devices of a test open. The checkpoint stays open.
var compiled = sync.OnceValues(func() (*bundle.Bundle, *checkpoint.Checkpoint) {
	m, err := models.Open(devicetest.Fixture("b-official-fp8fp4"), models.Options{})
	if err != nil {
		panic(err)
	}
	b, _, err := bundle.Compile(bundle.Source{Name: "tiny", Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding},
		bundle.Options{Lean: true, Context: 512, Chunk: 32, Slots: 3})
	if err != nil {
		panic(err)
	}
	return b, m.Checkpoint
})

func newCached(t *testing.T) *cached {
	t.Helper()
	l := openLLVM(t)
	b, ck := compiled()
	d, err := Open(b, ck, Options{LLVM: l, Cache: jit.UserCache(), Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	caches := d.machine.memory.regions[0] // the first memory that is asked for
	for i := range caches {
		caches[i] = planned.PoisonByte // whatever is not written is no number
	}
	return &cached{t, d, devicetest.Random(7, 600, d.Vocab())}
}

// prefill extends a slot from one length to another.
func (c *cached) prefill(slot int32, from, to int) {
	c.Helper()
	for at := from; at < to; {
		var rows []ir.Row
		for ; at < to && len(rows) < 32; at++ {
			rows = append(rows, ir.Row{Token: c.tokens[at], Position: int32(at), Slot: slot})
		}
		if _, err := c.Prefill(rows, nil); err != nil {
			c.Fatal(err)
		}
	}
}

// decode runs n single tokens of a slot and returns all their logits.
func (c *cached) decode(slot int32, n int) (out []float32) {
	c.Helper()
	for range n {
		at := c.Length(slot)
		logits, err := c.Decode([]ir.Row{{Token: c.tokens[at], Position: int32(at), Slot: slot}}, []int{0})
		if err != nil {
			c.Fatal(err)
		}
		out = append(out, logits...)
	}
	return out
}

// TestMarks: a slot that went back goes on as if nothing had been, bit for bit,
// though rings and blocks were written over; twice, from the same mark.
func TestMarks(t *testing.T) {
	c := newCached(t)
	c.prefill(0, 0, 150)
	mark, err := c.Caches().Mark(0)
	if err != nil || mark.Tokens() != 150 {
		t.Fatalf("a mark at %d tokens, %v", mark.Tokens(), err)
	}
	want := c.decode(0, 5)
	c.prefill(0, 155, 300)
	for range 2 {
		if err := c.Caches().Rewind(mark); err != nil {
			t.Fatal(err)
		}
		if got := c.decode(0, 5); !slices.Equal(got, want) {
			t.Error("after going back logits differ")
		}
	}
	c.Reset(0)
	if err := c.Caches().Rewind(mark); err == nil {
		t.Error("a slot that was reset went back")
	}
	if _, err := c.Caches().Mark(3); err == nil {
		t.Error("slot 3 of 3 has a mark")
	}
}

// TestCopies: a copy goes on as its original does.
func TestCopies(t *testing.T) {
	c := newCached(t)
	c.prefill(1, 0, 141)
	if err := c.Caches().Copy(2, 1); err != nil {
		t.Fatal(err)
	}
	want := c.decode(1, 6)
	if got := c.decode(2, 6); !slices.Equal(got, want) {
		t.Error("the copy's logits differ")
	}
	if err := c.Caches().Copy(3, 0); err == nil {
		t.Error("slot 3 of 3 was written")
	}
}

// TestStretch: a slot made longer has no row that nothing was written to, and
// goes on from its new length.
func TestStretch(t *testing.T) {
	c := newCached(t)
	if err := c.Caches().Stretch(0, 10); err == nil {
		t.Error("an empty slot was stretched")
	}
	c.prefill(0, 0, 20)
	for _, n := range []int{19, 513} {
		if err := c.Caches().Stretch(0, n); err == nil {
			t.Errorf("20 tokens were stretched to %d, of at most 512", n)
		}
	}
	if err := c.Caches().Stretch(0, 500); err != nil {
		t.Fatal(err)
	}
	for _, x := range c.decode(0, 8) {
		if x != x {
			t.Fatal("a logit is not a number: rows are missing")
		}
	}
	if n := c.Length(0); n != 508 {
		t.Errorf("%d tokens, want 508", n)
	}
	few, err := c.Caches().Bytes(20)
	if err != nil {
		t.Fatal(err)
	}
	many, err := c.Caches().Bytes(500)
	if err != nil || few <= 0 || many <= few || many > c.Bundle().Plan.CacheBytes/3 {
		t.Errorf("20 tokens fill %d bytes, 500 fill %d, %v", few, many, err)
	}
}

// TestProfile: every way to time a step gives the same bits, and times where
// there are to be some.
func TestProfile(t *testing.T) {
	c := newCached(t)
	c.prefill(0, 0, 50)
	mark, err := c.Caches().Mark(0)
	if err != nil {
		t.Fatal(err)
	}
	want := c.decode(0, 1)
	for _, m := range []profile.Mode{profile.Warm, profile.Cold, profile.Off} {
		if err := c.Caches().Rewind(mark); err != nil {
			t.Fatal(err)
		}
		if err := c.Profile(m); err != nil {
			t.Fatal(err)
		}
		if got := c.decode(0, 1); !slices.Equal(got, want) {
			t.Errorf("mode %d: logits differ", m)
		}
		times := c.Timings(0)
		for i, x := range times {
			if scores := i >= c.Bundle().Plan.Step(program.Decode).Scoring(); (x > 0) != (m != profile.Off && !scores) {
				t.Errorf("mode %d: dispatch %d took %v", m, i, x)
			}
		}
	}
	rates, err := c.Roofline()
	if err != nil || rates.Read <= 0 || rates.Copy <= 0 || rates.Flops <= 0 {
		t.Errorf("rates %+v, %v", rates, err)
	}
}
