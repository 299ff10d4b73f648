package device

import "time"

// Code is what a compiler made of a kernel.
type Code struct {
	Registers int // of a thread
	Spilled   int // bytes of a thread that found no register
}

// Examined is a Device that tells what its compiler made of kernels.
type Examined interface {
	Device
	// Code is that of the kernel of this name; false if there is none.
	Code(kernel string) (Code, bool)
}

// Graphs count what a device's decode steps did with graphs: lists of dispatches that are
// made once, and whose grids are updated.
type Graphs struct {
	Steps   int           // that were played
	Made    int           // graphs
	Nodes   int           // that were played
	Updated int           // nodes, to play those
	Elapsed time.Duration // of the host, for the updates
}

// Graphed is a Device whose decode steps are graphs.
type Graphed interface {
	Device
	// Graphs are those since the device was opened.
	Graphs() Graphs
	// LaunchFloor is how long the last decode step's graph takes if its kernels do nothing:
	// the same dispatches, without those that pick tokens, one after the other, in grids of
	// the same sizes. It is 0 before the first.
	LaunchFloor() (time.Duration, error)
}
