package jit

import (
	"bytes"
	"fmt"
	"runtime"
	"time"
	"unsafe"
)

// CodegenLevel says how long the code generator may take for how fast a code.
type CodegenLevel int32

// The code generator's levels, best code first.
const (
	Aggressive CodegenLevel = iota
	Default
	Less
	None
)

// VectorPasses is the pipeline for code that is vector code already: registers
// for variables, invariants out of loops, nothing computed twice. From level 2 on
// LLVM's own pipelines vectorise whatever is said elsewhere, and all of them
// spend most of their time on what such code does not need: instcombine too, whose
// rewriting instruction selection does again.
const VectorPasses = "function(sroa,early-cse<memssa>,simplifycfg,loop-mssa(licm),early-cse<memssa>,simplifycfg,adce)"

// Options say how to compile. The zero value is for kernels that are already
// vector code, on this machine.
type Options struct {
	Passes   string       // pass pipeline in opt's notation; "" is VectorPasses
	Codegen  CodegenLevel // of instruction selection, scheduling, registers
	NoUnroll bool         // leave loops as they are
	CPU      string       // LLVM's name of a CPU; "" is the host's, with its features
	Features string       // added to those of CPU: +avx512f,-fma
}

// resolve fills in what the zero value stands for.
func (o Options) resolve(h Host) Options {
	if o.Passes == "" {
		o.Passes = VectorPasses
	}
	if o.CPU == "" {
		o.CPU = h.CPU
		features := h.Features
		if features != "" && o.Features != "" {
			features += ","
		}
		o.Features = features + o.Features
	}
	return o
}

// Numbers of the C interface.
const (
	kindAssembly    = 0
	kindObject      = 1
	relocStatic     = 1
	relocPIC        = 2
	modelJITDefault = 1
	modelSmall      = 3
	returnStatus    = 2
	levelAggressive = 3
)

// Compile turns a module of LLVM IR into an object file for this machine. Errors and the
// parser's positions (name:line:column) call it name. It fails for IR that does not parse or verify, or for which there is no code.
func (l *LLVM) Compile(name, ir string, o Options) ([]byte, error) {
	object, _, err := l.emit(name, ir, o, kindObject)
	return object, err
}

// Assembly is Compile with the assembler's text as result.
func (l *LLVM) Assembly(name, ir string, o Options) (string, error) {
	out, _, err := l.emit(name, ir, o, kindAssembly)
	return string(out), err
}

// Stages is how long LLVM took for a module.
type Stages struct {
	Parse  time.Duration // and verifying
	Passes time.Duration
	Code   time.Duration // instructions, registers, the object file
}

// Total is the time of all stages.
func (s Stages) Total() time.Duration { return s.Parse + s.Passes + s.Code }

func (l *LLVM) emit(name, ir string, o Options, kind int32) ([]byte, Stages, error) {
	// LLVM keeps the sink's address.
	c := &compilation{l: l, options: o.resolve(l.host), sink: &sink{}}
	var pin runtime.Pinner
	pin.Pin(c.sink)
	defer pin.Unpin()

	var out []byte
	err := guard(func() (err error) {
		// Not reached after a fatal error, which leaves LLVM's objects in an
		// unknown state: they are given up.
		out, err = c.run(name, ir, kind)
		c.dispose()
		return err
	})
	if err != nil {
		return nil, c.stages, fmt.Errorf("kernel %s: LLVM %s: %w", name, l.Version(), err)
	}
	return out, c.stages, nil
}

// compilation is the way of one module through LLVM, in a context of its own.
type compilation struct {
	l        *LLVM
	options  Options
	sink     *sink
	disposal []func()
	stages   Stages
}

// own has an object of LLVM freed at the end, last one first.
func (c *compilation) own(object ref, dispose func(ref)) ref {
	c.disposal = append(c.disposal, func() { dispose(object) })
	return object
}

func (c *compilation) dispose() {
	for i := len(c.disposal) - 1; i >= 0; i-- {
		c.disposal[i]()
	}
}

func (c *compilation) run(name, ir string, kind int32) ([]byte, error) {
	start := time.Now()
	machine, err := c.machine()
	if err != nil {
		return nil, err
	}
	module, err := c.parse(name, ir, machine)
	if err != nil {
		return nil, err
	}
	parsed := time.Now()
	if err := c.optimize(module, machine); err != nil {
		return nil, err
	}
	optimized := time.Now()
	c.stages.Parse, c.stages.Passes = parsed.Sub(start), optimized.Sub(parsed)
	defer func() { c.stages.Code = time.Since(optimized) }()
	b := &c.l.b
	var message cString
	var buffer ref
	if b.TargetMachineEmitToMemoryBuffer(machine, module, kind, &message, &buffer) != 0 {
		return nil, fmt.Errorf("no code: %s", oneLine(b.message(message)))
	}
	c.own(buffer, b.DisposeMemoryBuffer)
	if err := c.sink.take(); err != nil {
		return nil, fmt.Errorf("no code: %w", err)
	}
	return bytes.Clone(unsafe.Slice(b.GetBufferStart(buffer), b.GetBufferSize(buffer))), nil
}

// machine makes the code generator for the options' CPU.
func (c *compilation) machine() (ref, error) {
	b, o, triple := &c.l.b, c.options, c.l.host.Triple
	var target ref
	var message cString
	if b.GetTargetFromTriple(triple, &target, &message) != 0 {
		return 0, fmt.Errorf("no target for %s: %s", triple, oneLine(b.message(message)))
	}
	reloc, model := c.l.addressing()
	machine := b.CreateTargetMachine(target, triple, o.CPU, o.Features, levelAggressive-int32(o.Codegen), reloc, model)
	if machine == 0 {
		return 0, fmt.Errorf("no code generator for %s", triple)
	}
	return c.own(machine, b.DisposeTargetMachine), nil
}

// addressing is how code finds constants and functions. LLVM's newer linker
// places an object's code beside its constants, so that one instruction reads
// them by their distance. The older one, still in use on Linux before LLVM 17,
// promises no distance: there, code has whole addresses in it.
func (l *LLVM) addressing() (reloc, model int32) {
	if l.version[0] >= 17 || runtime.GOOS == "darwin" {
		return relocPIC, modelSmall
	}
	return relocStatic, modelJITDefault
}

// parse reads a module, gives it the machine's data layout and verifies it.
func (c *compilation) parse(name, ir string, machine ref) (ref, error) {
	b := &c.l.b
	context := c.own(b.ContextCreate(), b.ContextDispose)
	b.ContextSetDiagnosticHandler(context, c.l.calls.diagnostic, unsafe.Pointer(c.sink))
	var module ref
	var message cString
	if b.ParseIRInContext(context, b.buffer([]byte(ir), name), &module, &message) != 0 {
		return 0, fmt.Errorf("the IR does not parse: %s", oneLine(b.message(message)))
	}
	c.own(module, b.DisposeModule)
	b.SetTarget(module, c.l.host.Triple)
	layout := b.CreateTargetDataLayout(machine)
	words := b.CopyStringRepOfTargetData(layout)
	b.SetDataLayout(module, text(words))
	b.DisposeMessage(words)
	b.DisposeTargetData(layout)
	broken := b.VerifyModule(module, returnStatus, &message) != 0
	problem := oneLine(b.message(message)) // there is one to free either way
	if broken {
		return 0, fmt.Errorf("the IR does not verify: %s", problem)
	}
	return module, c.sink.take()
}

// optimize runs the pass pipeline.
func (c *compilation) optimize(module, machine ref) error {
	b, o := &c.l.b, c.options
	options := c.own(b.CreatePassBuilderOptions(), b.DisposePassBuilderOptions)
	b.PassBuilderOptionsSetLoopInterleaving(options, 0)
	if o.NoUnroll {
		b.PassBuilderOptionsSetLoopUnrolling(options, 0)
	}
	if err := b.failure(b.RunPasses(module, o.Passes, machine, options)); err != nil {
		return fmt.Errorf("passes %s: %w", o.Passes, err)
	}
	if err := c.sink.take(); err != nil {
		return fmt.Errorf("passes %s: %w", o.Passes, err)
	}
	return nil
}
