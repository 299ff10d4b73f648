package metal

import (
	"fmt"
	"time"

	"smelt/internal/message"
	"smelt/runtime/device"
)

// Decisions are what the GPU and the system made of a model's plan.
type Decisions struct {
	// Threads is the most that a threadgroup has, if a pipeline allowed fewer than
	// planned and the model was planned again; else 0.
	Threads int
	// Residency: a residency set keeps the memory in place (macOS 15). Without one
	// each encoder names its buffers.
	Residency bool
	// Views are the buffers over the weights' files.
	Views int
}

// Decisions are what the GPU and the system made of the model's plan.
func (d *Device) Decisions() Decisions {
	x := Decisions{Threads: d.rescaled, Residency: d.queue.set != 0}
	for _, views := range d.memory.views {
		x.Views += len(views)
	}
	return x
}

// Text says what kernels run on.
func (d *Device) Text() string { return d.machine.Name + ", " + d.machine.System }

// built notes how pipelines came about, and how long that took.
func (d *Device) built(took time.Duration) {
	d.build.Elapsed = took
	d.build.Compiled, d.build.Kept = len(d.kernels), 0
	if d.kept {
		d.build.Compiled, d.build.Kept = 0, len(d.kernels)
	}
}

// Build tells how the kernels' machine code came about.
func (d *Device) Build() device.Build { return d.build }

// Notes say where the machine code came from, and what was decided.
func (d *Device) Notes() (notes []string) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	made, how := d.Decisions(), "compiled"
	if d.kept {
		how = "taken from the archive of an earlier run"
	}
	note("%s %s in %.2f s", message.Plural(len(d.kernels), "kernel"), how, d.build.Elapsed.Seconds())
	if d.build.Note != "" {
		note("%s", d.build.Note)
	}
	if made.Threads > 0 {
		note("planned again: a pipeline allows threadgroups of %d threads at most", made.Threads)
	} else {
		note("all pipelines allow the planned threadgroups")
	}
	if made.Residency {
		note("a residency set keeps the memory in place")
	} else {
		note("no residency sets on this system: each encoder names its buffers")
	}
	note("weights in %s without copies", message.Plural(made.Views, "buffer"))
	return notes
}
