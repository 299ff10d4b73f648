package planned

import (
	"slices"
	"time"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/roofline"
	"smelt.example/smelt/internal/runtime/profile"
)

// Profiled is a Device whose machine times its kernels: a device.Profiled.
type Profiled struct {
	*Device
	profiler Profiler
}

// Profiling is a device over a machine that is a Profiler.
func Profiling(d *Device, p Profiler) *Profiled { return &Profiled{d, p} }

// Profile chooses how the steps to come are timed. It fails where there is no
// memory for what profile.Cold reads.
func (d *Profiled) Profile(m profile.Mode) error {
	return d.Exclusively(func() error { return d.profiler.Profile(m) })
}

// Timings are the times of the last step of a kind, one for each of its plan's
// dispatches; zeros if it was not profiled.
func (d *Profiled) Timings(p program.Phase) []time.Duration {
	return slices.Clone(d.steps[p].bound.Times())
}

// Roofline measures what the machine can do at most.
func (d *Profiled) Roofline() (rates roofline.Rates, err error) {
	err = d.Exclusively(func() error {
		rates, err = d.profiler.Roofline()
		return err
	})
	return rates, err
}
