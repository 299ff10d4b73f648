package jit

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"smelt.example/smelt/internal/runtime/dynlib"
)

// ref is one of LLVM's opaque references. Go only hands it back.
type ref uintptr

// cString is a NUL-terminated string in LLVM's memory.
type cString *byte

// bindings is LLVM's C interface as far as this package uses it: the field Name
// is the function LLVMName. Go strings become NUL-terminated copies that live as
// long as the call.
type bindings struct {
	DisposeMessage           func(cString)
	GetErrorMessage          func(err ref) cString // ends the life of err
	DisposeErrorMessage      func(cString)
	InstallFatalErrorHandler func(handler uintptr)
	ResetFatalErrorHandler   func()

	ParseCommandLineOptions func(count int32, words *cString, overview string)

	ContextCreate               func() ref
	ContextDispose              func(context ref)
	ContextSetDiagnosticHandler func(context ref, handler uintptr, sink unsafe.Pointer)
	GetDiagInfoDescription      func(info ref) cString
	GetDiagInfoSeverity         func(info ref) int32

	CreateMemoryBufferWithMemoryRangeCopy func(data *byte, size uintptr, name string) ref
	GetBufferStart                        func(buffer ref) *byte
	GetBufferSize                         func(buffer ref) uintptr
	DisposeMemoryBuffer                   func(buffer ref)

	ParseIRInContext func(context, buffer ref, module *ref, message *cString) int32 // takes the buffer
	VerifyModule     func(module ref, action int32, message *cString) int32
	DisposeModule    func(module ref)
	SetTarget        func(module ref, triple string)
	SetDataLayout    func(module ref, layout string)

	GetDefaultTargetTriple          func() cString
	GetHostCPUName                  func() cString
	GetHostCPUFeatures              func() cString
	GetTargetFromTriple             func(triple string, target *ref, message *cString) int32
	CreateTargetMachine             func(target ref, triple, cpu, features string, level, reloc, model int32) ref
	DisposeTargetMachine            func(machine ref)
	CreateTargetDataLayout          func(machine ref) ref
	CopyStringRepOfTargetData       func(layout ref) cString
	DisposeTargetData               func(layout ref)
	TargetMachineEmitToMemoryBuffer func(machine, module ref, kind int32, message *cString, buffer *ref) int32

	CreatePassBuilderOptions              func() ref
	PassBuilderOptionsSetLoopInterleaving func(options ref, on int32)
	PassBuilderOptionsSetLoopUnrolling    func(options ref, on int32)
	DisposePassBuilderOptions             func(options ref)
	RunPasses                             func(module ref, passes string, machine, options ref) ref

	OrcCreateLLJIT                                   func(jit *ref, builder ref) ref
	OrcDisposeLLJIT                                  func(jit ref) ref
	OrcLLJITGetExecutionSession                      func(jit ref) ref
	OrcExecutionSessionSetErrorReporter              func(session ref, reporter uintptr, sink unsafe.Pointer)
	OrcLLJITGetMainJITDylib                          func(jit ref) ref
	OrcLLJITGetGlobalPrefix                          func(jit ref) int8
	OrcCreateDynamicLibrarySearchGeneratorForProcess func(generator *ref, prefix int8, filter, context uintptr) ref
	OrcJITDylibAddGenerator                          func(dylib, generator ref)
	OrcLLJITAddObjectFile                            func(jit, dylib, buffer ref) ref // takes the buffer
	OrcLLJITLookup                                   func(jit ref, address *uint64, name string) ref

	// AddMetadataToInst is not called: it tells LLVM 14 from what was before.
	AddMetadataToInst func(builder, instruction ref)
}

// bind fills the table from the library, or says which functions it lacks.
func (b *bindings) bind(handle uintptr) error {
	missing, total := dynlib.Bind(handle, "LLVM", b)
	switch n := len(missing); {
	case n == total:
		return fmt.Errorf("is not libLLVM: it has no %s", missing[0])
	case n > 0:
		return fmt.Errorf("is too old or built without what a just-in-time compiler needs: it has no %s", strings.Join(missing, ", "))
	}
	return nil
}

// text copies a C string.
func text(s cString) string { return dynlib.Text(s) }

// message copies what LLVM gave away as a message and frees it.
func (b *bindings) message(s cString) string {
	if s == nil {
		return ""
	}
	defer b.DisposeMessage(s)
	return text(s)
}

// failure turns LLVM's error into Go's and frees it; 0 is success.
func (b *bindings) failure(err ref) error {
	if err == 0 {
		return nil
	}
	s := b.GetErrorMessage(err)
	defer b.DisposeErrorMessage(s)
	return fmt.Errorf("%s", oneLine(text(s)))
}

// setSwitch sets an option that LLVM's own programs take on their command line, for
// all that this process does with the library. One that does not know it goes on
// without.
func (b *bindings) setSwitch(option string) {
	var words [2]cString // the first is the program
	for i, s := range []string{"smelt", option} {
		words[i] = &append([]byte(s), 0)[0]
	}
	b.ParseCommandLineOptions(int32(len(words)), &words[0], "")
	runtime.KeepAlive(&words)
}

// buffer copies data into a memory buffer. LLVM's parser wants the NUL that the
// copy ends with.
func (b *bindings) buffer(data []byte, name string) ref {
	return b.CreateMemoryBufferWithMemoryRangeCopy(unsafe.SliceData(data), uintptr(len(data)), name)
}

// oneLine joins the lines of LLVM's messages and leaves out the one with which
// its parsers point at a column: the message names it.
func oneLine(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); strings.Trim(line, "^~") != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, ": ")
}
