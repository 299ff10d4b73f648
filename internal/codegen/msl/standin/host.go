package standin

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// reportLimit is how many bytes of a host's standard error an error holds.
const reportLimit = 64 << 10

// closeLimit is how long Close waits for the host to end.
const closeLimit = 5 * time.Second

// Addr is an address in the host's memory, as kernels' arguments hold it. 0 is
// none.
type Addr uint64

// Kernel is a kernel as the host knows it.
type Kernel struct {
	Name       string
	ArgsSize   int // bytes of struct Args, 0 if it takes none
	StepSize   int // bytes of struct Step, 0 if it takes none
	MaxThreads int // per threadgroup
}

// Host is a running program: memory, and launches of kernels on it. Its methods
// may be called from several goroutines, one is served at a time. When the
// program has ended, by a crash or a sanitizer's report, all return that error.
type Host struct {
	mu      sync.Mutex
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     io.ReadCloser
	report  *limited
	kernels map[string]Kernel
	blocks  []block // by address
	ended   error   // why nothing can be asked any more
}

// block is memory that kernels may use.
type block struct {
	addr   Addr
	size   uint64
	mapped bool // a file: read-only
}

// Start runs the program.
func (p *Program) Start() (*Host, error) {
	cmd := exec.Command(p.path)
	// Options of whoever runs this would change what is found. Address
	// randomisation wider than the sanitizers' is their own affair.
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "ASAN_") || strings.HasPrefix(v, "UBSAN_")
	}),
		"ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:handle_abort=1:external_symbolizer_path="+p.symbolizer,
		"UBSAN_OPTIONS=print_stacktrace=1:external_symbolizer_path="+p.symbolizer)
	h := &Host{cmd: cmd, report: &limited{limit: reportLimit}}
	cmd.Stderr = h.report
	var err error
	if h.in, err = cmd.StdinPipe(); err == nil {
		if h.out, err = cmd.StdoutPipe(); err == nil {
			err = cmd.Start()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("standin: starting %s: %w", filepath.Base(p.path), err)
	}
	if err := h.list(); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// list asks which kernels there are.
func (h *Host) list() error {
	const most = 16 << 20
	table, err := h.ask("list", cmdList, nil, nil, -most)
	if err != nil {
		return err
	}
	h.kernels = map[string]Kernel{}
	for len(table) > 0 {
		name := uint32(math.MaxUint32)
		if len(table) >= 24 {
			name = binary.LittleEndian.Uint32(table[20:])
		}
		if uint64(len(table)) < 24+uint64(name) {
			return fmt.Errorf("standin: the host's table of kernels is cut off")
		}
		k := Kernel{
			Name:       string(table[24 : 24+name]),
			ArgsSize:   int(binary.LittleEndian.Uint64(table)),
			StepSize:   int(binary.LittleEndian.Uint64(table[8:])),
			MaxThreads: int(binary.LittleEndian.Uint32(table[16:])),
		}
		h.kernels[k.Name] = k
		table = table[24+name:]
	}
	return nil
}

// Kernels lists the program's kernels by name.
func (h *Host) Kernels() []Kernel {
	var out []Kernel
	for _, name := range sortedKeys(h.kernels) {
		out = append(out, h.kernels[name])
	}
	return out
}

// The commands, as in cpp/host/host.cpp.
const (
	cmdList = iota + 1
	cmdAlloc
	cmdMap
	cmdWrite
	cmdRead
	cmdFree
	cmdUnmap
	cmdLaunch
	cmdQuit
)

const headerSize = 16

// ask sends a command, its fixed part and its data, and returns the answer,
// which must have size bytes, or at most -size if that is negative.
func (h *Host) ask(what string, command uint32, fixed, data []byte, size int) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended != nil {
		return nil, h.ended
	}
	header := make([]byte, headerSize, headerSize+len(fixed))
	binary.LittleEndian.PutUint32(header, command)
	binary.LittleEndian.PutUint64(header[8:], uint64(len(fixed)+len(data)))
	if _, err := h.in.Write(append(header, fixed...)); err != nil {
		return nil, h.end(what, err)
	}
	if _, err := h.in.Write(data); err != nil {
		return nil, h.end(what, err)
	}
	answer := make([]byte, headerSize)
	if _, err := io.ReadFull(h.out, answer); err != nil {
		return nil, h.end(what, err)
	}
	refused := binary.LittleEndian.Uint32(answer) != 0
	got := binary.LittleEndian.Uint64(answer[8:])
	switch {
	case refused && got <= reportLimit:
	case !refused && size >= 0 && got == uint64(size):
	case !refused && size < 0 && got <= uint64(-size):
	default:
		return nil, h.end(what, fmt.Errorf("it answers with %d bytes", got))
	}
	body := make([]byte, got)
	if _, err := io.ReadFull(h.out, body); err != nil {
		return nil, h.end(what, err)
	}
	if refused {
		return nil, fmt.Errorf("standin: %s: %s", what, body)
	}
	return body, nil
}

// end notes that the host is gone, and why as far as it said.
func (h *Host) end(what string, cause error) error {
	h.in.Close()
	if !errors.Is(cause, io.EOF) && !errors.Is(cause, io.ErrUnexpectedEOF) {
		h.cmd.Process.Kill() // it may still live, but not speak sense
	}
	if err := h.cmd.Wait(); err != nil {
		cause = err
	}
	h.ended = fmt.Errorf("standin: %s: the program ended: %w", what, cause)
	if report := strings.TrimSpace(h.report.String()); report != "" {
		h.ended = fmt.Errorf("%w\n%s", h.ended, report)
	}
	return h.ended
}

// Close ends the program and frees its memory. It is not an error that the
// program has ended already.
func (h *Host) Close() error {
	timer := time.AfterFunc(closeLimit, func() { h.cmd.Process.Kill() })
	defer timer.Stop()
	if _, err := h.ask("close", cmdQuit, nil, nil, 0); err != nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = errors.New("standin: the host is closed")
	h.in.Close()
	if err := h.cmd.Wait(); err != nil {
		return fmt.Errorf("standin: close: %w", err)
	}
	return nil
}
