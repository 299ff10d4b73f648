package planned

import (
	"context"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/roofline"
	"smelt.example/smelt/internal/runtime/profile"
	"smelt.example/smelt/internal/runtime/stepblock"
)

// Address is a place in a machine's memory, as kernels' argument blocks hold it. A
// Device adds offsets within what Alloc and Weight gave, and takes differences of
// the addresses of weights; an address means nothing else outside the machine.
type Address uint64

// Machine is a processor with its memory, which runs the kernels of one bundle.
// All that a device does with rows is a Device's; a machine knows bytes and
// launches. Nothing but Step.Params and the arguments of calls is host memory: what
// Alloc and Weight give may lie where the host cannot reach.
//
// # Order of calls
//
// Open calls, in this order:
//
//  1. Alloc, for the caches, for what is kept of slots, and for the arena
//  2. Weight, once and more often for each plane that kernels read
//  3. Alloc and Write, for tables that argument blocks point to
//  4. Prepare, for the decode step and for the prefill step
//  5. Begin, once
//
// A step then is Step.Params, whose memory is filled, Step.Start and Wait. Several
// steps may be started, each after its Params, before Wait waits for them;
// they run in that order. A step's last dispatches, which pick tokens, may have a Start of
// their own, before the next Params: of the same memory then other parts were filled,
// which the dispatches before do not read. Where values are observed, a step is started
// dispatch by dispatch, with a Wait after each. Write and Copy come when nothing that was
// started is still to be waited for, Read also while something runs that writes other
// memory. After an error of Start or Wait nothing is started any more. Close comes last,
// once, also after an Open that failed.
//
// Calls come one at a time, but not always from one goroutine.
//
// # Owners
//
// A Device owns its machine from Open on. The machine owns all memory that it gave,
// until Close, and the code of the kernels. Slices that it is given it may keep only
// where that is said.
type Machine interface {
	// Alloc gives memory of so many bytes, at least 1, whose address is a multiple
	// of 256; what stands in it is not said. The name is for messages.
	Alloc(name string, bytes int64) (Address, error)
	// Weight gives the address at which kernels read some bytes of one of the
	// checkpoint's files, from an offset on: a whole plane of a stored matrix. It is
	// congruent to the offset modulo 16, and the up to 15 bytes before it can be read.
	// The same plane has the same address each time. The machine may map the file, or
	// upload the bytes by the end of Begin.
	Weight(file int, offset, bytes int64) (Address, error)
	// Read reads len(to) bytes.
	Read(to []byte, from Address) error
	// Write writes bytes.
	Write(to Address, bytes []byte) error
	// Copy copies n bytes of memory from Alloc to other such memory.
	Copy(to, from Address, n int64) error
	// Prepare takes one of the plan's steps, with the argument block of each of its
	// dispatches (see kernel.Kernel.Args), which the machine may keep.
	Prepare(s *plan.Step, args [][]byte) (Step, error)
	// Begin is told that all memory is there and both steps are prepared.
	Begin() error
	// Wait waits until all that was started has ended, but for the last `behind` calls
	// of Start, which may go on; and returns the first failure. Where a machine can leave
	// its work, it returns the context's error when that is done; else it waits to the
	// end.
	Wait(ctx context.Context, behind int) error
	// Close ends what runs and gives everything back. Parts that were never made,
	// since an earlier call failed, are no error.
	Close() error
}

// Step is one of a plan's steps on a machine.
type Step interface {
	// Params is host memory for the parameters of the next Start, which reads them;
	// as many bytes as the step's layout has. What stands in it is not said.
	Params() []byte
	// Start begins the dispatches of the step from one to before another, in the
	// plan's order, with the plan's barriers. The grids are those of all the step's
	// dispatches, in threadgroups; they are the caller's again when Start returns. A
	// grid of no threadgroups is no work. Start may return before anything ran, or
	// after all did. After an error nothing of the step runs any more.
	Start(grids [][3]int64, from, to int) error
	// Times are those of the dispatches started last, one for each of the step's;
	// zeros where they were not timed, nil if the machine has no clock. The slice is
	// the machine's.
	Times() []time.Duration
}

// Copied is a Step whose Start copies Params to where kernels read them. It need not
// copy all.
type Copied interface {
	Step
	// Use is told, after Params and before Start, which parts kernels read. What is not
	// copied may have anything in it. The slice is the caller's again when Start returns.
	Use(parts []stepblock.Span)
}

// Paced is a Step that tells how far it is.
type Paced interface {
	Step
	// Begun is how many of the dispatches that were started last have begun. Any
	// goroutine may ask, at any time.
	Begun() int
}

// Beside is a Machine whose Start returns long before what it started has ended: the
// host gains by starting a step before it waits for the one before.
type Beside interface {
	Machine
	// Beside does nothing.
	Beside()
}

// Roomy is a Machine that has memory for what is kept of slots beside them.
type Roomy interface {
	Machine
	// Room is how many bytes of it there may be; 0 for none. It is asked once, before Alloc.
	Room() int64
}

// Profiler is a Machine that times its dispatches.
type Profiler interface {
	Machine
	// Profile says how dispatches are timed from the next Start on.
	Profile(profile.Mode) error
	// Roofline measures what the machine can do at most.
	Roofline() (roofline.Rates, error)
}

// Make makes the machine for a bundle: it finds the processor, plans the bundle for
// it, and compiles the kernels. The bundle is the one that the machine runs.
type Make func(*bundle.Bundle) (Machine, *bundle.Bundle, error)
