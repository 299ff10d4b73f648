package metal

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
