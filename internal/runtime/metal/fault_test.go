package metal

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/checkpoint/container"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/metal/fake"
	"smelt.example/smelt/internal/runtime/metal/objc"
	"smelt.example/smelt/internal/runtime/profile"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/models"
)

// TestFaults: after a fault the step's error names the kernels, the cause and what
// helps, the slots are as before, later steps are refused, all is given back, and
// the model can be opened again.
func TestFaults(t *testing.T) {
	b, ck := compiledFixture()
	for name, c := range map[string]struct {
		code     int
		prefill  bool
		mode     profile.Mode
		timeouts int
		want     []string
	}{
		"timeout":     {code: objc.FailedTimeout, want: []string{"decode step, kernels ", "smaller Chunk"}},
		"page fault":  {code: objc.FailedPageFault, want: []string{"decode step, kernels ", "smelt doctor"}},
		"memory":      {code: objc.FailedOutOfMemory, want: []string{"decode step, kernels ", "memory ran out"}},
		"lost device": {code: objc.FailedDeviceRemoved, want: []string{"decode step, kernels ", "start again"}},
		"prefill":     {code: objc.FailedPageFault, prefill: true, want: []string{"prefill step, kernels "}},
		// The command buffers behind it fail too, for another reason.
		"one of many":   {code: objc.FailedPageFault, mode: profile.Warm, want: []string{"decode step, kernel ", ": fault 3"}},
		"after a while": {code: objc.FailedPageFault, timeouts: 3, want: []string{"decode step, kernels "}},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "memory" && name != "one of many" {
				t.Skip("-short: one of each kind")
			}
			left := 0 // dispatches until the fault, which begins with 1
			g := newGPU(t, fake.Options{Residency: true, Timeouts: c.timeouts, Fault: func(*fake.Dispatch) int {
				if left--; left == 0 {
					return c.code
				}
				return 0
			}})
			d, err := g.open(b, ck, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := steps(d, 1); err != nil {
				t.Fatal(err)
			}
			length := d.Length(0)
			row, tokens := []ir.Row{{Token: 5, Position: int32(length)}}, make([]int32, 1)
			run := d.SampleDecode
			if c.prefill {
				run = d.SamplePrefill
			}
			if err := d.Profile(c.mode); err != nil {
				t.Fatal(err)
			}
			left = 8
			err = run(row, []int{0}, greedy, tokens)
			var e *objc.Error
			if !errors.As(err, &e) || e.Code != c.code {
				t.Fatalf("error %v; expected code %d", err, c.code)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q; expected that it says %q", err, w)
				}
			}
			if d.Length(0) != length {
				t.Errorf("the slot has %d tokens after the fault, %d before", d.Length(0), length)
			}
			if err := d.SampleDecode(row, []int{0}, greedy, tokens); err == nil || !strings.Contains(err.Error(), "failed before") {
				t.Errorf("a step after the fault: %v", err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if live := g.fake.Live(); len(live) != 0 {
				t.Errorf("after the fault there are still %v", live)
			}
			again, err := g.open(b, ck, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := steps(again, 2); err != nil {
				t.Errorf("opened again: %v", err)
			}
		})
	}
}

// TestHelp: what the description says counts more than the code, which several
// reasons share.
func TestHelp(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&objc.Error{Domain: objc.CommandBufferErrors, Code: 1, Text: "Impacting Interactivity (0000000e:kIOGPUCommandBufferCallbackErrorImpactingInteractivity)"}, "smaller Chunk"},
		{&objc.Error{Domain: objc.CommandBufferErrors, Code: 1, Text: "Innocent Victim (00000005:kIOGPUCommandBufferCallbackErrorInnocentVictim)"}, "another program"},
		{&objc.Error{Domain: objc.CommandBufferErrors, Code: objc.FailedOutOfMemory, Text: "Insufficient Memory"}, "memory ran out"},
		{&objc.Error{Domain: "elsewhere", Code: objc.FailedOutOfMemory}, "smelt doctor"},
		{errors.New("no NSError"), "smelt doctor"},
	} {
		if got := help(fmt.Errorf("in a step: %w", c.err)); !strings.Contains(got.Error(), c.want) {
			t.Errorf("%v: %q; expected %q in it", c.err, got, c.want)
		}
	}
}

// TestOpenFails: what cannot work is refused in one error, and nothing stays.
func TestOpenFails(t *testing.T) {
	b, ck := compiledFixture()
	stopped := errors.New("stopped")
	for name, c := range map[string]struct {
		o    fake.Options
		opts Options
		want []string
	}{
		"no device": {o: fake.Options{NoDevice: true}, want: []string{"names no GPU"}},
		"too large": {o: fake.Options{WorkingSet: 3 << 20}, want: []string{"sudo sysctl iogpu.wired_limit_mb=5", "recommends for Fake M3 at most 3.15 MB", "(weights 2.72 MB, caches "}},
		"too large for the Mac": {o: fake.Options{WorkingSet: 1 << 20, Memory: 8 << 30},
			want: []string{"this Mac has 8.59 GB of memory"}},
		"no memory":     {o: fake.Options{NewBufferFails: func(n int64) bool { return n > 100000 && n < 2<<20 /* of the file it is */ }}, want: []string{"memory is full", "smaller Context, Chunk or Slots"}},
		"small buffers": {o: fake.Options{MaxBuffer: 256 << 10}, want: []string{"at most 262.1 kB"}},
		"does not compile": {o: fake.Options{Compile: func(s string) error {
			if strings.Contains(s, "void head_decode(") {
				return errors.New("program_source:3:1: error: expected expression")
			}
			return nil
		}}, want: []string{"kernel head_decode: Metal does not compile line 3: ", "expected expression"}},
		"stopped": {opts: Options{Stop: func() error { return stopped }}, want: []string{"stopped"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGPU(t, c.o)
			_, err := g.open(b, ck, c.opts)
			g.device = nil
			if err == nil {
				t.Fatal("opened")
			}
			refused := new(admission.Error)
			if large := strings.HasPrefix(name, "too large"); errors.As(err, &refused) != large || large && (refused.Paging || refused.Have != c.o.WorkingSet || refused.Need <= refused.Have) {
				t.Errorf("%#v, of a model that is refused for its size: %v", refused, large)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q; expected that it says %q", err, w)
				}
			}
			if name == "too large for the Mac" && strings.Contains(err.Error(), "sysctl") {
				t.Errorf("error %q; no sysctl helps a Mac that has too little memory", err)
			}
		})
	}
}

// TestStopWhileReading: the weights' pages are read piece by piece, which can be
// stopped.
func TestStopWhileReading(t *testing.T) {
	b, ck := compiledFixture()
	stopped, read := errors.New("stopped"), int64(0)
	g := newGPU(t, fake.Options{})
	d, err := g.open(b, ck, Options{Progress: func(done, total int64) { read = done }})
	if err != nil {
		t.Fatal(err)
	}
	if read != ck.Files[0].Size() {
		t.Errorf("%d bytes were read; the file has %d", read, ck.Files[0].Size())
	}
	read = 0
	if err := d.machine.memory.pageIn(func(done, total int64) { read = done }, func() error { return stopped }); !errors.Is(err, stopped) || read != 0 {
		t.Errorf("stopped: %v after %d bytes", err, read)
	}
}

// TestRemedy: the sysctl is offered only where it leaves macOS enough.
func TestRemedy(t *testing.T) {
	m := &GPU{Memory: 128 << 30}
	for _, c := range []struct {
		need int64
		fits int
		want string
	}{
		{110<<30 + 1, 0, "allow more until the next start with: sudo sysctl iogpu.wired_limit_mb=112641"},
		{110 << 30, 4096, "allow more until the next start with: sudo sysctl iogpu.wired_limit_mb=112640; or take Context 4096, about the largest that fits"},
		{125 << 30, 4096, "take Context 4096, about the largest that fits"},
		{125 << 30, 0, "this Mac has 137.4 GB of memory, of which macOS needs some; take a checkpoint of fewer bits, or a larger Mac"},
	} {
		if got := m.remedy(c.need, c.fits).Error(); got != c.want {
			t.Errorf("%d bytes, context %d: %q, expected %q", c.need, c.fits, got, c.want)
		}
	}
}

// TestChanged: the fake GPU reads nothing of the weights, so that what is told is
// what the device looks at after a step, and while it reads pages in.
func TestChanged(t *testing.T) {
	b, _ := compiledFixture()
	for name, now := range map[string]func(size int64) int64{
		"last byte": func(size int64) int64 { return size - 1 }, "half": func(size int64) int64 { return size / 2 },
		"nothing left": func(int64) int64 { return 0 }, "appended": func(size int64) int64 { return size + 1 },
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(devicetest.Fixture("b-official-fp8fp4"))); err != nil {
			t.Fatal(err)
		}
		m, err := models.Open(dir, models.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		g := newGPU(t, fake.Options{})
		d, err := g.open(b, m.Checkpoint, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := steps(d, 1); err != nil {
			t.Fatal(err)
		}
		length, file := d.Length(0), m.Checkpoint.Files[0]
		if err := os.Truncate(file.Path(), now(file.Size())); err != nil {
			t.Fatal(err)
		}
		tokens := []int32{-7}
		err = d.SampleDecode([]ir.Row{{Token: 5, Position: int32(length)}}, []int{0}, greedy, tokens)
		var changed *container.ChangedError
		if !errors.As(err, &changed) || changed.Path != file.Path() || changed.Now != now(file.Size()) || tokens[0] != -7 || d.Length(0) != length {
			t.Errorf("%s: token %d, slot at %d of %d, error %v", name, tokens[0], d.Length(0), length, err)
		}
		if err := steps(d, 1); err == nil || !strings.Contains(err.Error(), "failed before") {
			t.Errorf("%s: a step after it: %v", name, err)
		}
		err = d.machine.memory.pageIn(func(done, total int64) {}, func() error { return nil })
		if gone := changed != nil && changed.Now < changed.Was/2+1; gone != errors.As(err, &changed) {
			t.Errorf("%s: reading pages in: %v", name, err)
		}
	}
}
