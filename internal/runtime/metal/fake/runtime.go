// Package fake is an Objective-C runtime with Metal, written in Go, behind
// objc.Entry: what talks to Apple's GPU can be driven on any machine. It keeps
// count of objects, checks the rules that Metal has (and mostly does not check
// itself), and hands dispatches to a function that runs them.
//
// A broken rule is a violation, listed by Violations: never a panic. The call
// that broke it does nothing and returns 0 where it cannot go on.
//
// Work runs when its command buffer is committed; it counts as completed only
// once the caller has asked (waited, or read a status), so what is given back
// between the two is found. On Linux memory is mapped and each thread has its own
// autorelease pools; elsewhere all threads count as one.
package fake

import (
	"fmt"
	"sync"

	"smelt.example/smelt/internal/runtime/metal/objc"
)

// Options says what the machine is like and what runs dispatches. Its functions
// are called without the runtime's lock: they may call the Runtime's methods.
type Options struct {
	// NoDevice is a machine without a GPU.
	NoDevice bool
	// The device and the system report MaxBuffer, WorkingSet and Memory, in bytes; 0
	// means 64, 96 and 128 GiB.
	MaxBuffer, WorkingSet, Memory int64
	// Residency is macOS 15: residency sets and math modes are known.
	Residency bool
	// Pages is the page size that no-copy buffers are aligned to; 0 means 4096.
	Pages int
	// MaxThreads are the threads of pipelines, by kernel, that have fewer than
	// 1024 and than the kernel's attribute says.
	MaxThreads map[string]int
	// FlushHalves makes zeros of subnormal halves.
	FlushHalves bool
	// Execute runs a dispatch, but for that of package halves; an error fails its command buffer like a page
	// fault. Nil runs nothing.
	Execute func(*Dispatch) error
	// Compile refuses a source like a compiler; nil takes all.
	Compile func(source string) error
	// Fault is a code of MTLCommandBufferErrorDomain to fail with before this
	// dispatch; 0 for none.
	Fault func(*Dispatch) int
	// Timeouts is how many waits for an event end by their timeout, each time,
	// before the caller may know that the work it waits for is done. Until then
	// its command buffers are scheduled.
	Timeouts int
	// NewBufferFails tells that there is no memory for a buffer; nil: there is.
	NewBufferFails func(length int64) bool
}

// Runtime is a fake Objective-C runtime. Its methods can be called from any
// goroutine.
type Runtime struct {
	options Options

	mu      sync.Mutex
	ended   *sync.Cond // a command buffer's work ended
	running int        // command buffers whose work runs now
	closed  bool

	selectors map[string]int // numbers, by name
	names     []string       // of selectors
	calls     []int          // by selector
	pushes    int
	pops      int
	ran       int // dispatches

	classes map[string]*class
	slots   []slot
	pools   map[int]*pools // by thread
	token   uintptr        // of the pool pushed last

	device      *object
	processInfo *object
	buffers     []*buffer // live ones, by address
	address     uint64    // where the next buffer begins
	allocated   int64
	compiled    int
	queues      []*queue
	made        serials
	clock       float64
	spare       spare

	call       site // what is being called
	violations []string
	more       int // violations that are not listed
}

// site is a call, for messages.
type site struct {
	receiver objc.ID
	selector string
}

// serials number what is made, from 1.
type serials struct{ commandBuffers, encoders int }

// New starts a runtime.
func New(o Options) *Runtime {
	const gib = 1 << 30
	if o.MaxBuffer == 0 {
		o.MaxBuffer = 64 * gib
	}
	if o.WorkingSet == 0 {
		o.WorkingSet = 96 * gib
	}
	if o.Memory == 0 {
		o.Memory = 128 * gib
	}
	if o.Pages == 0 {
		o.Pages = 4096
	}
	r := &Runtime{options: o, selectors: map[string]int{}, pools: map[int]*pools{}, address: firstAddress}
	r.ended = sync.NewCond(&r.mu)
	r.declare()
	r.device = r.singleton("MTLDevice")
	r.processInfo = r.singleton("NSProcessInfo")
	return r
}

// Entry is the table of entry points.
func (r *Runtime) Entry() objc.Entry {
	return objc.Entry{
		Send: r.send, SendFloat64: r.sendFloat64,
		Class: r.class, Selector: r.selector,
		PoolPush: r.push, PoolPop: r.pop,
		DefaultDevice: r.defaultDevice,
	}
}

// Close frees the memory of buffers and texts that are still there. What is called
// later is a violation.
func (r *Runtime) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	for _, s := range r.slots {
		if s.object == nil {
			continue
		}
		switch s.object.data.(type) {
		case *buffer, *text:
			s.class.destroy(r, s.object)
		}
	}
}

func (r *Runtime) defaultDevice() objc.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.options.NoDevice || r.closed {
		return 0
	}
	r.device.shares++
	return r.device.id
}

// maxViolations is how many violations are listed; the rest are counted.
const maxViolations = 1000

// violate notes a rule that the present call broke.
func (r *Runtime) violate(format string, args ...any) {
	r.report(fmt.Sprintf("%s %s: ", r.describe(r.call.receiver), r.call.selector) + fmt.Sprintf(format, args...))
}

func (r *Runtime) report(text string) {
	if len(r.violations) == maxViolations {
		r.more++
		return
	}
	r.violations = append(r.violations, text)
}

// Violations are the broken rules, in order: the receiver, the method and what is
// wrong. The first 1000 are listed.
func (r *Runtime) Violations() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := append([]string(nil), r.violations...)
	if r.more > 0 {
		out = append(out, fmt.Sprintf("and %d more", r.more))
	}
	return out
}

// Live counts live objects by class, without the runtime's own. The device counts
// while somebody owns a share of it.
func (r *Runtime) Live() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]int{}
	for _, s := range r.slots {
		if s.object != nil && !s.class.meta && (!s.object.singleton || s.object.shares > 0) {
			out[s.class.name]++
		}
	}
	return out
}

// Calls counts sends by selector since ResetCounts, and pushes and pops of
// autorelease pools by the names of their C functions.
func (r *Runtime) Calls() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]int{}
	for i, n := range r.calls {
		if n > 0 {
			out[r.names[i]] = n
		}
	}
	if r.pushes > 0 {
		out["objc_autoreleasePoolPush"] = r.pushes
	}
	if r.pops > 0 {
		out["objc_autoreleasePoolPop"] = r.pops
	}
	return out
}

// TotalCalls is the sum of Calls.
func (r *Runtime) TotalCalls() int {
	total := 0
	for _, n := range r.Calls() {
		total += n
	}
	return total
}

// Dispatches counts dispatches that ran since ResetCounts: those of committed
// command buffers up to a fault.
func (r *Runtime) Dispatches() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ran
}

// Compiled counts pipelines that no binary archive had, since ResetCounts.
func (r *Runtime) Compiled() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.compiled
}

// ResetCounts begins Calls, Dispatches and Compiled anew.
func (r *Runtime) ResetCounts() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.calls)
	r.pushes, r.pops, r.ran, r.compiled = 0, 0, 0, 0
}

// unlocked runs f without the lock, so that f can use the runtime.
func (r *Runtime) unlocked(f func() error) error {
	call := r.call
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.call = call
	}()
	return f()
}
