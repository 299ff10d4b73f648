package standin

import (
	"encoding/binary"
	"fmt"
	"time"
)

// launchLimit is the processor time a launch may take where nothing is said.
const launchLimit = time.Minute

// Launch is one run of a kernel over a grid.
type Launch struct {
	Kernel  string
	Grid    [3]uint32 // threadgroups along x, y, z; each at least 1
	Threads uint32    // per threadgroup, along x
	// Args is the argument block, with addresses of this host: the kernel's
	// struct Args, or that rounded up to 8 bytes. Ignored if it takes none.
	Args []byte
	// Step is where the step block lies, in a block that holds at least the
	// kernel's struct Step. Ignored if it takes none.
	Step Addr
	// Poison fills threadgroup memory before a threadgroup starts.
	Poison byte
	// Seed chooses orders that Metal leaves open; see the package comment.
	Seed uint64
	// Limit is the processor time the launch may take; 0 is a minute.
	Limit time.Duration
}

// Launch runs a kernel to its end. Its error says which thread of which
// threadgroup did what. After a kernel's own mistake in waiting for other
// threads the host goes on; after a crash, a sanitizer's report or the time
// limit it has ended.
func (h *Host) Launch(l Launch) error {
	k, ok := h.kernels[l.Kernel]
	if !ok {
		return fmt.Errorf("standin: launch: the program has no kernel %q", l.Kernel)
	}
	if err := h.checkLaunch(l, k); err != nil {
		return fmt.Errorf("standin: launch %s: %w", l.Kernel, err)
	}
	args, step := l.Args[:min(len(l.Args), k.ArgsSize)], l.Step
	if k.StepSize == 0 {
		step = 0
	}
	limit := l.Limit
	if limit == 0 {
		limit = launchLimit
	}
	var fixed []byte
	for _, v := range []uint32{l.Grid[0], l.Grid[1], l.Grid[2], l.Threads} {
		fixed = binary.LittleEndian.AppendUint32(fixed, v)
	}
	fixed = append(fixed, words(uint64(step), l.Seed, uint64(max(limit.Milliseconds(), 1)))...)
	fixed = binary.LittleEndian.AppendUint32(fixed, uint32(l.Poison))
	fixed = binary.LittleEndian.AppendUint32(fixed, uint32(len(l.Kernel)))
	fixed = append(fixed, l.Kernel...)
	_, err := h.ask("launch "+l.Kernel, cmdLaunch, fixed, args, 0)
	return err
}

func (h *Host) checkLaunch(l Launch, k Kernel) error {
	if l.Threads < 1 || int(l.Threads) > k.MaxThreads {
		return fmt.Errorf("%d threads per threadgroup; expected 1 to %d", l.Threads, k.MaxThreads)
	}
	groups := uint64(1)
	for _, n := range l.Grid {
		if n < 1 || uint64(n) > (1<<40)/groups {
			return fmt.Errorf("grid %v; expected at least 1 along each axis and at most 2^40 threadgroups", l.Grid)
		}
		groups *= uint64(n)
	}
	if n := len(l.Args); k.ArgsSize > 0 && n != k.ArgsSize && n != (k.ArgsSize+7)/8*8 {
		return fmt.Errorf("arguments of %d bytes; the kernel's struct Args has %d", n, k.ArgsSize)
	}
	if k.StepSize > 0 {
		if _, err := h.within(l.Step, uint64(k.StepSize)); err != nil {
			return fmt.Errorf("step block: %w", err)
		}
	}
	if l.Limit < 0 {
		return fmt.Errorf("time limit %v; expected none or a positive one", l.Limit)
	}
	return nil
}
