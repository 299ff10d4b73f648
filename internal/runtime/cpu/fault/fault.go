// Package fault ends the process in words where machine code reads bytes of a
// mapped file that are gone: the file was cut short, or its disk failed. The system
// sends SIGBUS then. In Go code that is a panic, which container.Guard makes an
// error of; machine code has nothing that could recover, and Go's runtime would end
// the process with the stacks of all goroutines and not a word of the file.
//
// The handler is machine code itself, made by libLLVM like the kernels, for nothing
// of Go may run in the middle of a kernel. It takes a fault only if two things are
// so, and passes all others on to Go's handler, with the arguments as they came:
//
//   - The address is in a mapping that is watched.
//   - The instruction is not one of Go's. Go code, and the assembly of its runtime
//     that copies and compares for it, may read the same bytes, and recovers by
//     Go's handler. Where Go's code lies is known for good when the process starts;
//     kernels, and what they call of the C library, lie elsewhere. So nothing has
//     to be noted when a thread enters or leaves a kernel.
//
// Then it writes a line that was made beforehand and names the file, before it what
// Report gave it, and ends the process with Status. Signal handlers belong to the process, and so does this
// package's state: the handler is installed once and stays.
package fault

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"smelt.example/smelt/internal/runtime/codecache"
	"smelt.example/smelt/internal/runtime/cpu/jit"
)

// Status is the exit status of a process that the handler ends: EX_IOERR of
// sysexits.h, an error while a file was read.
const Status = 74

// Mapping is a mapped file that kernels read.
type Mapping struct {
	Bytes []byte // the mapping
	Path  string // of the file, for the line
}

// A Watch is a set of mappings that are watched until Stop.
type Watch struct{ mappings []Mapping }

// Start watches mappings, which must stay mapped until Stop. The first call in a
// process installs the handler; cache, if not nil, keeps its code. It fails where
// there is no code for the handler, and where the system refuses it.
func Start(l *jit.LLVM, cache *codecache.Cache, mappings []Mapping) (*Watch, error) {
	w := &Watch{mappings}
	h := &process
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state == nil {
		if err := h.install(l, cache); err != nil {
			return nil, fmt.Errorf("the handler for files that are cut short: %w", err)
		}
	}
	h.watches = append(h.watches, w)
	if err := h.publish(); err != nil {
		h.watches = h.watches[:len(h.watches)-1]
		return nil, err
	}
	return w, nil
}

// Stop ends the watch. A second call does nothing.
func (w *Watch) Stop() error {
	h := &process
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.Index(h.watches, w)
	if i < 0 {
		return nil
	}
	h.watches = slices.Delete(h.watches, i, i+1)
	return h.publish()
}

// process is the process's one handler.
var process handler

// handler is the installed handler with the mappings that it looks for.
type handler struct {
	mu      sync.Mutex
	state   *state // nil until it is installed
	program *jit.Program
	watches []*Watch
	table   []byte // what it reads, outside Go's heap
	report  []byte // what it prints; nil for nothing
}

// state is the handler's own, in the memory of its code; handlerText has the order.
type state struct {
	table   uint64 // address of the table
	readers int64  // handlers that are reading it
	_       uint64 // a handler is ending the process
	goFrom  uint64 // Go's code begins here
	goEnd   uint64 // and ends here
	pass    uint64 // Go's handler
	report  uint64 // address of the report, 0 for none
}

// install makes the handler and gives it the signal.
func (h *handler) install(l *jit.LLVM, cache *codecache.Cache) error {
	text, err := handlerText(runtime.GOOS, runtime.GOARCH)
	if err != nil {
		return err
	}
	build, err := l.CompileAll([]jit.Module{jit.Text("fault", text)}, jit.Options{}, cache, 1, nil)
	if err != nil {
		return err
	}
	program, err := l.Link(build.Objects) // as long as the process lives
	if err != nil {
		return err
	}
	code, err := program.Symbol(handlerName)
	if err != nil {
		return errors.Join(err, program.Close())
	}
	at, err := program.Symbol(stateName)
	if err != nil {
		return errors.Join(err, program.Close())
	}
	h.state, h.program = *(**state)(unsafe.Pointer(&at)), program
	from, end := goCode()
	h.state.goFrom, h.state.goEnd = uint64(from), uint64(end)
	if err = h.publish(); err == nil {
		err = takeSignal(code, &h.state.pass)
	}
	if err != nil {
		h.state, h.program = nil, nil
		return errors.Join(err, program.Close())
	}
	return nil
}

// Report has the handler print a report on standard output when it ends the process:
// before, then what it says of the file as a JSON string, then after. Empty ones take
// that back. Without a handler it does nothing.
func Report(before, after []byte) error {
	h := &process
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state == nil {
		return nil
	}
	var block []byte
	if len(before)+len(after) > 0 {
		var err error
		if block, err = reserve(16 + len(before) + len(after)); err != nil {
			return fmt.Errorf("a report of %d bytes: %w", len(before)+len(after), err)
		}
		binary.NativeEndian.PutUint64(block, uint64(len(before)))
		binary.NativeEndian.PutUint64(block[8:], uint64(len(after)))
		copy(block[16+copy(block[16:], before):], after)
	}
	old := h.report
	h.report = block
	atomic.StoreUint64(&h.state.report, address(block))
	return h.retire(old)
}

// entry is a mapping as the handler's table has it: the table is their number and
// then the entries, each of six words. quoted is the line's sentence in JSON.
type entry struct{ from, bytes, line, lineBytes, quoted, quotedBytes uint64 }

// publish gives the handler a table of the watches. The old one goes when no
// handler reads it.
func (h *handler) publish() error {
	var mappings []Mapping
	size := 8
	for _, w := range h.watches {
		for _, m := range w.mappings {
			mappings = append(mappings, m)
			size += int(unsafe.Sizeof(entry{})) + len(line(m.Path)) + len(quoted(m.Path))
		}
	}
	table, err := reserve(size)
	if err != nil {
		return fmt.Errorf("a table of %d mapped files: %w", len(mappings), err)
	}
	binary.NativeEndian.PutUint64(table, uint64(len(mappings)))
	base, lines := address(table), 8+len(mappings)*int(unsafe.Sizeof(entry{}))
	for i, m := range mappings {
		e := entry{from: address(m.Bytes), bytes: wholePages(len(m.Bytes))}
		e.line, e.lineBytes = base+uint64(lines), uint64(copy(table[lines:], line(m.Path)))
		lines += int(e.lineBytes)
		e.quoted, e.quotedBytes = base+uint64(lines), uint64(copy(table[lines:], quoted(m.Path)))
		lines += int(e.quotedBytes)
		for k, word := range []uint64{e.from, e.bytes, e.line, e.lineBytes, e.quoted, e.quotedBytes} {
			binary.NativeEndian.PutUint64(table[8+i*int(unsafe.Sizeof(entry{}))+8*k:], word)
		}
	}
	old := h.table
	h.table = table
	atomic.StoreUint64(&h.state.table, base)
	return h.retire(old)
}

// retire releases what the handler had, if it had something, when none reads it.
func (h *handler) retire(old []byte) error {
	if old == nil {
		return nil
	}
	for atomic.LoadInt64(&h.state.readers) > 0 {
		runtime.Gosched() // a handler reads some thousand words at most, or ends the process
	}
	return release(old)
}

// line is the message about a file.
func line(path string) string { return "smelt: " + sentence(path) + "\n" }

func sentence(path string) string {
	return path + ": the file was cut short, or its disk failed, while a kernel read it; what was computed with it is not given out: put the whole file back and start again"
}

// quoted is the sentence as a JSON string.
func quoted(path string) []byte {
	text, _ := json.Marshal(sentence(path)) // strings have no errors
	return text
}

// wholePages is a mapping's length in memory.
func wholePages(n int) uint64 {
	page := os.Getpagesize()
	return uint64((n + page - 1) / page * page)
}

func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// goCode is where the code of Go lies: one range, in which the runtime knows a
// function for every address, and outside of which it knows none.
func goCode() (from, end uintptr) {
	known := func(pc uintptr) bool { return runtime.FuncForPC(pc) != nil }
	here, _, _, _ := runtime.Caller(0)
	return edge(known, here, -1), edge(known, here, 1) + 1
}

// edge is the last address in a direction that is known, of which all are up to it.
func edge(known func(uintptr) bool, from uintptr, direction int) uintptr {
	at := func(n uintptr) uintptr { return from + uintptr(direction)*n }
	in, out := uintptr(0), uintptr(1)
	for known(at(out)) {
		in, out = out, 2*out
	}
	for out-in > 1 {
		if mid := in + (out-in)/2; known(at(mid)) {
			in = mid
		} else {
			out = mid
		}
	}
	return at(in)
}
