package metal

import (
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/msl/standin"
	"smelt.example/smelt/internal/doctor"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/devicetest"
	"smelt.example/smelt/internal/runtime/metal/fake"
	"smelt.example/smelt/internal/runtime/metal/objc"
	"smelt.example/smelt/models"
	"smelt.example/smelt/passes"
)

// examine has package doctor check this device on fake machines, one for whole
// steps and one for kernels one by one.
func examine(t *testing.T, machine func(observed bool) *gpu) doctor.Result {
	t.Helper()
	dir := devicetest.Fixture("a-bf16")
	m, err := models.Open(dir, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	b, _, err := bundle.Compile(bundle.Source{Name: filepath.Base(dir), Graph: m.Graph, Checkpoint: m.Checkpoint, Binding: m.Binding},
		bundle.Options{Formats: passes.Formats{Rows: "f32", Keys: "f32"}, Context: 44, Chunk: 24, Slots: 2, Wanted: 3})
	if err != nil {
		t.Fatal(err)
	}
	r, err := doctor.Check(t.Context(), doctor.Subject{Name: "metal", Open: func(observe func(string, []byte)) (device.Planned, error) {
		d, err := machine(observe != nil).open(b, m.Checkpoint, Options{Observe: observe})
		if err != nil {
			return nil, err
		}
		return d, nil
	}}, m.Weights)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestDoctor: a healthy machine is found healthy, every kernel compared and timed.
func TestDoctor(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the stand-in takes its time")
	}
	if _, err := standin.Find(); err != nil {
		t.Skip(err)
	}
	t.Parallel()
	var g *gpu
	r := examine(t, func(bool) *gpu {
		before := g
		if g = newExecutor(t, fake.Options{Residency: true}); before != nil {
			g.program = before.program
		}
		g.same = true // as a GPU, on which rows have the same bits alone and side by side
		return g
	})
	if !r.OK || r.Whole > 1e-5 || r.Prefill.GPU <= 0 || r.Decode.GPU <= 0 {
		t.Errorf("ok %v, %q, whole steps differ by %g, %+v, %+v", r.OK, r.Errors, r.Whole, r.Prefill, r.Decode)
	}
	for _, k := range r.Kernels {
		if !k.Ran || !k.OK || k.Values == 0 && len(k.Through) == 0 || k.Difference > 1e-5 || k.Seconds <= 0 {
			t.Errorf("%+v", k)
		}
	}
}

// TestDoctorFinds: a GPU that computes nothing, and one that fails in a kernel, are
// found out, and the kernel is named.
func TestDoctorFinds(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: two examinations of all kernels")
	}
	r := examine(t, func(bool) *gpu { return newGPU(t, fake.Options{Residency: true}) })
	if r.OK || !strings.Contains(strings.Join(r.Errors, "\n"), "kernel embed_hyper_write_prefill: prefill step from token 0 of slot 0 on: ") {
		t.Errorf("a GPU that computes nothing: ok %v, %q", r.OK, r.Errors)
	}
	r = examine(t, func(bool) *gpu {
		return newGPU(t, fake.Options{Residency: true, Fault: func(d *fake.Dispatch) int {
			if d.Kernel == "attn_out_a_prefill" {
				return objc.FailedPageFault
			}
			return 0
		}})
	})
	if r.OK || len(r.Errors) < 2 || !strings.Contains(r.Errors[1], "kernel by kernel: the GPU failed in a prefill step, kernel attn_out_a_prefill: ") {
		t.Errorf("a GPU that fails: %q", r.Errors)
	}
}
