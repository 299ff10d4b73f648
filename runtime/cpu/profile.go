package cpu

import (
	"time"

	"smelt/codegen/program"
	"smelt/runtime/binding"
	"smelt/runtime/profile"
)

// Profile chooses how the steps to come are timed. It fails where there is no
// memory for what profile.Cold reads.
func (d *Device) Profile(m profile.Mode) error {
	if m == profile.Cold {
		if _, err := d.openProbes(); err != nil {
			return err
		}
	}
	d.mode = m
	d.pool.profile = m != profile.Off
	return nil
}

// Timings are the times of the last step of a kind, one for each of its plan's
// dispatches; zeros if it was not profiled.
func (d *Device) Timings(phase program.Phase) []time.Duration {
	s := d.steps[phase]
	out := make([]time.Duration, len(s.jobs))
	for i := range out {
		out[i] = s.jobs[i].elapsed()
	}
	return out
}

// Caches is the memory of the slots. What is done to it must not run beside a step.
func (d *Device) Caches() *binding.Caches { return binding.NewCaches(d.b.Plan, d.caches, d.slots) }

// runJobs runs a step's jobs.
func (d *Device) runJobs(jobs []job) {
	if d.mode != profile.Cold {
		d.pool.run(jobs)
		return
	}
	for i := range jobs {
		d.runProbe(d.probes.read)
		d.pool.run(jobs[i : i+1])
	}
}
