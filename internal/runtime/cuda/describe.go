package cuda

import (
	"fmt"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/runtime/device"
)

// Text says what kernels run on.
func (d *Device) Text() string {
	c := d.machine.card
	return fmt.Sprintf("%s, compute capability %d.%d, driver for CUDA %s", c.Name, c.Capability/10, c.Capability%10, d.machine.api.Version())
}

// Build tells how the kernels' machine code came about.
func (d *Device) Build() device.Build { return d.machine.code.build }

// Notes say where the machine code came from, and what graphs did.
func (d *Device) Notes() []string {
	b := d.Build()
	notes := []string{fmt.Sprintf("%s compiled in %.2f s and %d found in the cache", message.Plural(b.Compiled, "kernel"), b.Elapsed.Seconds(), b.Kept)}
	notes = append(notes, d.machine.halves)
	if b.Note != "" {
		notes = append(notes, "machine code is not kept: "+b.Note)
	}
	if g := d.Graphs(); g.Steps > 0 {
		notes = append(notes, fmt.Sprintf("%s by %s; of %d nodes a step %.1f were updated, in %.1f µs", message.Plural(g.Steps, "decode step"), message.Plural(g.Made, "graph"),
			g.Nodes/g.Steps, float64(g.Updated)/float64(g.Steps), float64(g.Elapsed.Microseconds())/float64(g.Steps)))
	}
	return notes
}
