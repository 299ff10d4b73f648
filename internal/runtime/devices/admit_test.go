package devices

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/memory"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/models"
	"smelt.example/smelt/models/checkpoint"
)

func openFixture(t *testing.T) Model {
	t.Helper()
	m, err := models.Open(devicetest.Fixture("b-official-fp8fp4"), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return Model{Source: bundle.SourceOf(m), Weights: m.Weights}
}

// machine is a gate of a machine with so much memory.
func machine(total, available int64) *admission.Gate {
	return &admission.Gate{
		Memory: memory.Memory{Total: memory.Figure{Bytes: total, Source: "all"}, Available: memory.Figure{Bytes: available, Source: "what is left"}},
		Rate:   func([]checkpoint.File) (float64, string) { return 1e6, "a guess" },
	}
}

// TestAdmission: every device of the processor refuses what has no room, before it
// compiles anything; weights only unless paging is allowed, and the rest even then.
func TestAdmission(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles bundles")
	}
	m := openFixture(t)
	for _, k := range All() {
		if k.Name == "metal" {
			continue // which has a GPU's working set, in its own tests
		}
		t.Run(k.Name, func(t *testing.T) {
			open := func(o Options) error {
				o.Context, o.Chunk = 64, 16
				d, err := k.Open(m, o)
				if err == nil {
					err = d.Close()
				}
				return err
			}
			var refused *admission.Error
			err := open(Options{Gate: machine(64<<30, 1<<10), AllowPaging: true})
			if errors.Is(err, ErrNotHere) {
				t.Skip(err)
			}
			if !errors.As(err, &refused) || refused.Paging || refused.Have != 1<<10 || !strings.Contains(err.Error(), "the "+k.Name+" device needs ") || !strings.Contains(err.Error(), "(what is left)") {
				t.Fatalf("with 1 KB left: %v", err)
			}
			err = open(Options{Gate: machine(refused.Need+1000, 64<<30)})
			if !errors.As(err, &refused) || !refused.Paging || !strings.Contains(err.Error(), "give AllowPaging") || !strings.Contains(err.Error(), "a token reads ") {
				t.Fatalf("with room for none of the weights: %v", err)
			}
			if k.Slow {
				return // compiling for it takes a minute
			}
			note := ""
			if err := open(Options{Gate: machine(refused.Have, 64<<30), AllowPaging: true, Watch: Watch{Paging: func(text string) { note = text }}}); err != nil || !strings.Contains(note, " 0 % of all weights fit, and about ") {
				t.Errorf("with paging allowed: %v, %q", err, note)
			}
			if err := open(Options{Gate: machine(refused.Need, 64<<30), Watch: Watch{Paging: func(text string) { t.Error(text) }}}); err != nil {
				t.Errorf("with just enough: %v", err)
			}
		})
	}
}

// TestAdvice: the context that a refusal advises fits, and more would not by much.
func TestAdvice(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles bundles")
	}
	m := openFixture(t)
	for _, name := range []string{"cpu", "reference"} {
		t.Run(name, func(t *testing.T) {
			k, _ := All().Named(name)
			open := func(available int64, context, slots int) error {
				d, err := k.Open(m, Options{Gate: machine(64<<30, available), Context: context, Chunk: 16, Slots: slots})
				if err == nil {
					err = d.Close()
				}
				return err
			}
			need := func(context int) int64 {
				var refused *admission.Error
				err := open(1, context, 8)
				if errors.Is(err, ErrNotHere) {
					t.Skip(err)
				}
				if !errors.As(err, &refused) {
					t.Fatal(err)
				}
				return refused.Need
			}
			large, small := need(2048), need(256)
			err := open(small+(large-small)/2, 2048, 8)
			advised := regexp.MustCompile(`: take Context (\d+), .*, or Slots (\d+)$`).FindStringSubmatch(err.Error())
			if advised == nil {
				t.Fatalf("with half of what a context of 2048 takes more than one of 256: %v", err)
			}
			context, _ := strconv.Atoi(advised[1])
			if context < 512 || context >= 2048 {
				t.Errorf("advised are %d tokens: %v", context, err)
			}
			slots, _ := strconv.Atoi(advised[2])
			if err := errors.Join(open(small+(large-small)/2, context, 8), open(small+(large-small)/2, 2048, slots)); err != nil {
				t.Errorf("what was advised (%v): %v", advised, err)
			}
			if slots < 2 || slots > 7 {
				t.Errorf("advised are %d slots: %v", slots, err)
			}
			nothing := "take a smaller Chunk than 16; no context fits with that"
			if name == "cpu" {
				nothing = "no smaller sizes make that fit" // the compiler alone takes more
			}
			if err := open(small/1000, 2048, 8); err == nil || !strings.Contains(err.Error(), nothing) {
				t.Errorf("with next to nothing: %v", err)
			}
		})
	}
}

// TestWritten: the sizes of a bundle that was compiled before are changed by compiling it.
func TestWritten(t *testing.T) {
	m := openFixture(t)
	host, err := target.Named("cpu")
	if err != nil {
		t.Fatal(err)
	}
	if m.Bundle, _, err = bundle.Compile(m.Source, bundle.Options{Lean: true, Context: 64, Chunk: 16, Target: host}); err != nil {
		t.Fatal(err)
	}
	k, _ := All().Named("cpu")
	var refused *admission.Error
	if _, err := k.Open(m, Options{Gate: machine(64<<30, 1000)}); errors.Is(err, ErrNotHere) {
		t.Skip(err)
	} else if !errors.As(err, &refused) {
		t.Fatal(err)
	}
	// Some room is left beside what no size changes.
	sized := m.Bundle.Memory().Caches + m.Bundle.Memory().Arena + m.Bundle.Memory().Steps
	if _, err := k.Open(m, Options{Gate: machine(64<<30, refused.Need-sized+1000)}); err == nil || !strings.Contains(err.Error(), "compile the bundle with a smaller Chunk than 16") {
		t.Error(err)
	}
}

// TestNoFallback: a device that is there and has no room is not passed over.
func TestNoFallback(t *testing.T) {
	full := &admission.Error{Need: 2, Have: 1}
	table := Table{
		{Name: "metal", Auto: true, open: func(Model, Options) (device.Device, error) { return nil, full }},
		{Name: "cpu", Auto: true, open: func(Model, Options) (device.Device, error) {
			t.Error("the next device was tried")
			return nil, nil
		}},
	}
	if _, _, err := table.Open(Auto, Model{}, Options{AllowPaging: true}); !errors.Is(err, full) {
		t.Error(err)
	}
}

// TestKept: every device of the processor has the memory for what is kept of slots that it
// was asked for, within what is there; and refuses what is too little for any text.
func TestKept(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: compiles bundles")
	}
	m := openFixture(t)
	for _, name := range []string{"cpu", "reference"} {
		t.Run(name, func(t *testing.T) {
			k, _ := All().Named(name)
			open := func(kept, available int64) (all int64, err error) {
				d, err := k.Open(m, Options{Gate: machine(64<<30, available), Context: 64, Chunk: 16, CacheRAM: kept})
				if errors.Is(err, ErrNotHere) {
					t.Skip(err)
				}
				if err != nil {
					return 0, err
				}
				taken, all := d.(device.Keeper).Room()
				if taken != 0 {
					t.Errorf("%d bytes are taken of nothing", taken)
				}
				return all, d.Close()
			}
			var refused *admission.Error
			if _, err := open(0, 1); !errors.As(err, &refused) {
				t.Fatal(err)
			}
			need := refused.Need
			times := int64(1) // that a byte takes
			if name == "reference" {
				times = garbage
			}
			const mib = 1 << 20
			for _, c := range []struct {
				kept, available, all int64
				err                  string
			}{
				{0, need, 0, ""},
				{3 * mib, need + times*3*mib, 3 * mib, ""},
				{3 * mib, need + times*3*mib - 1, 0, "take CacheRAM 2MiB or less"},
				{3 * mib, need - 1, 0, "take CacheRAM 0; then take "},
				{admission.Auto, need + times*12*mib, 3 * mib, ""},
				{admission.Auto, need, 0, ""},
				{5000, 64 << 30, 0, "CacheRAM of 5.00 kB: a text's newest rows take "},
			} {
				if all, err := open(c.kept, c.available); all != c.all || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("%d bytes asked for of %d: %d, %v; expected %d, %q", c.kept, c.available-need, all, err, c.all, c.err)
				}
			}
		})
	}
}
