package bench

import (
	"fmt"

	"smelt.example/smelt/internal/runtime/device"
)

// Graphs say what decode steps did with graphs of their dispatches, where the device plays
// such: per step, the measured ones.
type Graphs struct {
	Made    int     `json:"made"` // while these steps ran
	Nodes   float64 `json:"nodes_per_step"`
	Updated float64 `json:"updated_per_step"`
	Seconds float64 `json:"update_seconds_per_step"` // of the host
}

// graphs counts what a device's graphs did so far; false if it has none.
func (b *bench) graphs() (device.Graphs, bool) {
	g, ok := b.dev.(device.Graphed)
	if !ok {
		return device.Graphs{}, false
	}
	return g.Graphs(), true
}

// graphsSince is what graphs did since they were counted; nil if no step was one.
func (b *bench) graphsSince(before device.Graphs) *Graphs {
	now, ok := b.graphs()
	steps := float64(now.Steps - before.Steps)
	if !ok || steps == 0 {
		return nil
	}
	return &Graphs{
		Made: now.Made - before.Made, Nodes: float64(now.Nodes-before.Nodes) / steps,
		Updated: float64(now.Updated-before.Updated) / steps, Seconds: (now.Elapsed - before.Elapsed).Seconds() / steps,
	}
}

// floor is how long the step takes that ran last if its kernels do nothing; 0 where the
// device cannot tell.
func (b *bench) floor() (float64, error) {
	g, ok := b.dev.(device.Graphed)
	if !ok {
		return 0, nil
	}
	t, err := g.LaunchFloor()
	return t.Seconds(), err
}

// Grid is the kernel's threadgroups and their threads, for people; "" for several
// kernels.
func (k *Kernel) Grid() string {
	if k.Threads == 0 {
		return ""
	}
	return fmt.Sprintf("%d x %d", k.Threadgroups, k.Threads)
}

// examine notes what the device's compiler made of a kernel.
func (b *bench) examine(k *Kernel) {
	if d, ok := b.dev.(device.Examined); ok {
		code, _ := d.Code(k.Name)
		k.Registers, k.Spilled = code.Registers, code.Spilled
	}
}
