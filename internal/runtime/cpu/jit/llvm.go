// Package jit turns LLVM IR into machine code inside this process: it loads
// libLLVM (14 or newer) when asked to, without cgo and without a compiler's
// program, compiles modules for the machine it runs on, keeps the objects in a
// folder, and links them where they can be called.
//
//	l, err := jit.Open("")
//	build, err := l.CompileAll(modules, jit.Options{}, cache, runtime.NumCPU(), nil)
//	program, err := l.Link(build.Objects)
//	address, err := program.Symbol("kernel")
//	purego.SyscallN(address, ...)
package jit

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/ebitengine/purego"

	"smelt.example/smelt/internal/runtime/dynlib"
)

// LLVM is a loaded libLLVM. It stays loaded as long as the process lives. Its
// methods may be called from several goroutines.
type LLVM struct {
	b        bindings
	version  [3]uint32
	path     string
	identity string
	host     Host
	calls    callbacks
}

// Host is the machine this process runs on, in LLVM's words.
type Host struct {
	Triple   string // x86_64-pc-linux-gnu
	CPU      string // znver3
	Features string // +avx2,-avx512f, ...
}

// Lanes is the width of the machine's vector registers in f32: 16 with AVX-512,
// 8 with AVX2, otherwise 4.
func (h Host) Lanes() int {
	lanes := 4
	for feature := range strings.SplitSeq(h.Features, ",") {
		switch feature {
		case "+avx512f":
			return 16
		case "+avx2":
			lanes = 8
		}
	}
	return lanes
}

// Open loads libLLVM. An empty path means the library that the environment
// variable Env names or, without it, the newest one found at the usual places
// (Candidates). Every error is one line that says what was tried and what to
// install. A process can use one libLLVM: opening a second file fails.
func Open(path string) (*LLVM, error) {
	if path == "" {
		path = os.Getenv(Env)
	}
	if path == "" {
		return open(runtime.GOOS, Candidates(runtime.GOOS))
	}
	l, err := load(path)
	if errors.Is(err, errSecond) {
		return nil, fmt.Errorf("libLLVM %s %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("libLLVM %s %w: %s", path, err, advice(runtime.GOOS))
	}
	return l, nil
}

// withoutPasses leave out of the code generator what finds nothing in kernels: loop
// strength reduction, where addresses are a pointer and a counter (a tenth of the
// time that kernels' code takes), and moving scalars to mask registers (a
// fiftieth; only x86 knows the switch). The C interface has no other way to say so.
func withoutPasses() []string { return []string{"-disable-lsr", "-disable-x86-domain-reassignment"} }

// switched is whether that was said. Like the switches, it is the process's, which
// has one libLLVM; LLVM reads them while it compiles, and refuses a second time.
var switched sync.Once

func load(name string) (*LLVM, error) {
	// The loader keeps its last error by thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l := &LLVM{}
	lib, err := loadLibrary(name, &l.b)
	if err != nil {
		return nil, err
	}
	if err := lib.initialize(runtime.GOARCH); err != nil {
		return nil, err
	}
	switched.Do(func() {
		for _, option := range withoutPasses() {
			l.b.setSwitch(option)
		}
	})
	l.path = lib.path
	l.version = lib.version()
	l.identity = dynlib.Identity(l.path)
	l.calls = newCallbacks(&l.b)
	l.host = Host{
		Triple:   l.b.message(l.b.GetDefaultTargetTriple()),
		CPU:      l.b.message(l.b.GetHostCPUName()),
		Features: sorted(l.b.message(l.b.GetHostCPUFeatures())),
	}
	return l, nil
}

// sorted puts the features of a list in order: LLVM's comes from a hash table,
// and the list is part of a cache's keys.
func sorted(features string) string {
	list := strings.Split(features, ",")
	slices.Sort(list)
	return strings.Join(list, ",")
}

// initialize registers the code generator of an architecture (as in
// runtime.GOARCH).
func (l library) initialize(goarch string) error {
	target, ok := map[string]string{"amd64": "X86", "arm64": "AArch64"}[goarch]
	if !ok {
		return fmt.Errorf("is not asked for code: kernels are made for amd64 and arm64, this is %s", goarch)
	}
	for _, part := range []string{"TargetInfo", "Target", "TargetMC", "AsmPrinter", "AsmParser"} {
		address, err := purego.Dlsym(l.handle, "LLVMInitialize"+target+part)
		if err != nil {
			return fmt.Errorf("was built without the %s target", target)
		}
		purego.SyscallN(address)
	}
	return nil
}

// version asks the library, which answers since 16; what is older shows by the
// functions it has, and only as a major version.
func (l library) version() (v [3]uint32) {
	if address, err := purego.Dlsym(l.handle, "LLVMGetVersion"); err == nil {
		var get func(major, minor, patch *uint32)
		purego.RegisterFunc(&get, address)
		get(&v[0], &v[1], &v[2])
		return v
	}
	if l.has("LLVMPointerTypeIsOpaque") {
		return [3]uint32{15}
	}
	return [3]uint32{14}
}

// Version is the library's version: 19.1.7, or 14 and 15 where it does not tell
// more.
func (l *LLVM) Version() string {
	if l.version[0] < 16 {
		return fmt.Sprint(l.version[0])
	}
	return fmt.Sprintf("%d.%d.%d", l.version[0], l.version[1], l.version[2])
}

// Path is the library's file.
func (l *LLVM) Path() string { return l.path }

// Host is the machine as the library sees it.
func (l *LLVM) Host() Host { return l.host }
