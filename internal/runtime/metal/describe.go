package metal

import (
	"fmt"
	"time"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/runtime/device"
)

// Decisions say what the GPU and the system changed in a model's plan.
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

// Decisions returns what the GPU and the system changed in the model's plan.
func (d *Device) Decisions() Decisions {
	x := Decisions{Threads: d.machine.rescaled, Residency: d.machine.queue.set != 0}
	for _, views := range d.machine.memory.views {
		x.Views += len(views)
	}
	return x
}

// Text says what kernels run on.
func (d *Device) Text() string { return d.machine.info.Name + ", " + d.machine.info.System }

// built notes how pipelines came about, and how long that took.
func (m *machine) built(took time.Duration) {
	m.build.Elapsed = took
	m.build.Compiled, m.build.Kept = len(m.kernels), 0
	if m.kept {
		m.build.Compiled, m.build.Kept = 0, len(m.kernels)
	}
}

// Build tells how the kernels' machine code came about.
func (d *Device) Build() device.Build { return d.machine.build }

// Notes say where the machine code came from, and what was decided.
func (d *Device) Notes() (notes []string) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	made, how := d.Decisions(), "compiled"
	if d.machine.kept {
		how = "taken from the archive of an earlier run"
	}
	note("%s %s in %.2f s", message.Plural(len(d.machine.kernels), "kernel"), how, d.machine.build.Elapsed.Seconds())
	if d.machine.build.Note != "" {
		note("%s", d.machine.build.Note)
	}
	if made.Threads > 0 {
		note("planned again: a pipeline allows threadgroups of %d threads at most", made.Threads)
	} else {
		note("all pipelines allow the planned threadgroups")
	}
	note("%s", d.machine.halves)
	if made.Residency {
		note("a residency set keeps the memory in place")
	} else {
		note("no residency sets on this system: each encoder names its buffers")
	}
	note("weights in %s without copies", message.Plural(made.Views, "buffer"))
	return notes
}
