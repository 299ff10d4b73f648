package metal

import (
	"time"

	"smelt/codegen/program"
	"smelt/runtime/profile"
)

// Profile chooses how the steps to come are timed: where they are, each dispatch
// has a command buffer of its own. It fails where there is no memory for what
// profile.Cold reads.
func (d *Device) Profile(m profile.Mode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	if m == profile.Cold {
		if _, err := d.openProbes(); err != nil {
			return err
		}
	}
	d.mode = m
	return nil
}

// Timings are the GPU times of the last step of a kind, one for each of its plan's
// dispatches; zeros if it was not profiled.
func (d *Device) Timings(phase program.Phase) []time.Duration {
	return append([]time.Duration(nil), d.steps[phase].times...)
}

// StepTime is how long the GPU took for the last step, from its first dispatch to
// its last; 0 before the first step.
func (d *Device) StepTime() (t time.Duration, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return 0, errClosed
	}
	err = d.queue.do(func() error {
		running := d.queue.running
		if len(running) == 0 {
			return nil
		}
		for _, r := range running {
			d.queue.send(d.queue.completed, r.id)
		}
		start, _ := d.api.Times(running[0].id)
		_, end := d.api.Times(running[len(running)-1].id)
		t = time.Duration((end - start) * float64(time.Second))
		return nil
	})
	return t, err
}
