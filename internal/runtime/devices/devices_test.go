package devices

import (
	"errors"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/runtime/cpu"
	"smelt.example/smelt/internal/runtime/cuda"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/metal"
	"smelt.example/smelt/internal/runtime/metal/objc"
	"smelt.example/smelt/internal/runtime/reference"
	"smelt.example/smelt/internal/runtime/standin"
	"smelt.example/smelt/models"
)

// TestChoice: without a name the first device that the machine has is taken, and
// the choice says why not another; any other failure is told, not passed over.
func TestChoice(t *testing.T) {
	broken := errors.New("out of memory")
	opens := func(err error) func(Model, Options) (device.Device, error) {
		return func(Model, Options) (device.Device, error) { return &reference.Device{}, err }
	}
	kinds := func(metal, cpu error) Table {
		return Table{
			{Name: "metal", Auto: true, here: func() error { return metal }, open: opens(nil)},
			{Name: "cpu", Auto: true, open: opens(cpu)},
			{Name: "standin", open: opens(nil)},
			{Name: "reference", Auto: true, open: opens(nil)},
		}
	}
	for name, c := range map[string]struct {
		kinds           Table
		device          string
		taken, why, err string
	}{
		"metal":          {kinds(nil, nil), Auto, "metal", "the best there is", ""},
		"no metal":       {kinds(objc.ErrNotHere, nil), Auto, "cpu", "not on this machine: the metal device needs macOS on Apple silicon", ""},
		"neither":        {kinds(objc.ErrNotHere, ErrNotHere), Auto, "reference", "not on this machine", ""},
		"named":          {kinds(nil, nil), "cpu", "cpu", "", ""},
		"named, missing": {kinds(objc.ErrNotHere, nil), "metal", "", "", "the metal device needs macOS on Apple silicon"},
		"broken":         {kinds(objc.ErrNotHere, broken), Auto, "", "", "out of memory"},
		"none":           {kinds(objc.ErrNotHere, ErrNotHere)[:2], Auto, "", "", "not on this machine"},
		"unknown":        {kinds(nil, nil), "gpu", "", "", "device gpu: expected auto, metal, cpu, standin, reference"},
	} {
		d, choice, err := c.kinds.Open(c.device, Model{}, Options{})
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || (err == nil) != (d != nil) {
			t.Errorf("%s: %v, %v; expected error %q", name, d, err, c.err)
		}
		if choice.Kind.Name != c.taken || choice.Why != c.why {
			t.Errorf("%s: took %q because %q, expected %q, %q", name, choice.Kind.Name, choice.Why, c.taken, c.why)
		}
	}
}

// TestTargets: a device runs the kernels of its own target unless another is named,
// which must be one that it can run; a bundle for another is planned anew.
func TestTargets(t *testing.T) {
	kinds := Table{
		{Name: "card", Targets: []string{"cuda", "metal"}},
		{Name: "processor", Targets: []string{"cpu"}},
		{Name: "graph"},
	}
	var ran *bundle.Bundle
	for i := range kinds {
		kinds[i].open = func(m Model, _ Options) (device.Device, error) {
			ran = m.Bundle
			return &reference.Device{}, nil
		}
	}
	m, err := models.Open(devicetest.Fixture("a-bf16"), models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	source := bundle.SourceOf(m)
	given, _, err := bundle.Compile(source, bundle.Options{Lean: true, Context: 16, Chunk: 8})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ device, target, runs, err string }{
		{"card", "", "cuda", ""}, {"card", "cuda", "cuda", ""}, {"card", "metal", "metal", ""},
		{"processor", target.Host(), "metal", ""}, // it plans anew by itself
		{"card", "cpu8", "", "Target cpu8: the device card runs the kernels of cuda or metal"},
		{"processor", "metal", "", "Target metal: the device processor runs the kernels of cpu"},
		{"graph", "metal", "", "Target metal: the device graph runs no kernels"},
		{"card", "gpu", "", "Target gpu: no such target; expected cpu, metal, cuda, cpu4"},
	} {
		for _, b := range []*bundle.Bundle{given, nil} {
			if b == nil && c.device == "processor" {
				continue // the target of its own compile is checked with the row
			}
			ran = nil
			_, _, err := kinds.Open(c.device, Model{Source: source, Bundle: b}, Options{Target: c.target, Context: 16, Chunk: 8})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%s for %q: %v, want %q", c.device, c.target, err, c.err)
				}
				continue
			}
			if err != nil || ran == nil || ran.Plan.Target.Name != c.runs || b != nil && (ran == b) != (c.runs == "metal") {
				t.Errorf("%s for %q: %v; it is given a bundle for %v", c.device, c.target, err, ran.Plan.Target)
			}
		}
	}
}

// TestTable: the order in which devices are tried, the names and targets of all,
// and that what a machine lacks is told as such.
func TestTable(t *testing.T) {
	auto := All().Where(func(k Kind) bool { return k.Auto })
	if auto.String() != "metal, cpu, reference" || All().Choices() != "auto, metal, cpu, cuda, reference, standin" {
		t.Errorf("devices are tried in the order %s, of %s", auto, All().Choices())
	}
	measured := All().Where(func(k Kind) bool { return k.Profiles })
	if got := measured.Needing(); got != "metal, which needs a Mac, or cpu, which needs libLLVM, or cuda, which needs an NVIDIA driver and libnvrtc" {
		t.Errorf("measurable are %s", got)
	}
	opened := map[string]device.Device{
		"metal": (*metal.Device)(nil), "cpu": (*cpu.Device)(nil), "cuda": (*cuda.Device)(nil), "reference": (*reference.Device)(nil), "standin": (*standin.Device)(nil),
	}
	seen := map[string]bool{}
	for _, k := range All() {
		_, runsKernels := opened[k.Name].(device.Planned)
		_, profiles := opened[k.Name].(device.Profiled)
		if runsKernels != (len(k.Targets) > 0) || profiles != k.Profiles {
			t.Errorf("device %s: runs kernels %v, times them %v, and its row says otherwise", k.Name, runsKernels, profiles)
		}
		if k.Name == "" || k.Doc == "" || k.open == nil || seen[k.Name] || k.Name == Auto {
			t.Errorf("the row %+v lacks something, or its name is another's", k)
		}
		seen[k.Name] = true
		for i, name := range k.Targets {
			want, err := target.Named(name)
			got, why := k.Runs(name)
			if err != nil || why != nil || got != want {
				t.Errorf("device %s runs kernels of %q: %v, %v, as %+v", k.Name, name, err, why, got)
			}
			if own, err := k.Runs(""); i == 0 && (err != nil || own != want) {
				t.Errorf("device %s takes %+v, %v unasked; expected %+v", k.Name, own, err, want)
			}
		}
	}
	if _, err := metal.Native(); err != nil && !errors.Is(err, objc.ErrNotHere) {
		t.Errorf("no Metal here, but the error does not say so: %v", err)
	}
}
