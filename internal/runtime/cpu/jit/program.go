package jit

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"
)

// Program is linked machine code in this process. Symbol may be called from
// several goroutines.
type Program struct {
	l    *LLVM
	jit  ref
	sink *sink
	pin  runtime.Pinner
}

// Link puts objects made by Compile together with what they call of this process
// (memset, memcpy). Two objects that define the same symbol are an error; one
// that calls what does not exist is an error of Symbol: an object is linked when
// a symbol of it is first asked for. The caller keeps the objects' bytes.
func (l *LLVM) Link(objects [][]byte) (*Program, error) {
	p := &Program{l: l, sink: &sink{}}
	p.pin.Pin(p.sink)
	err := guard(p.create)
	for i := 0; err == nil && i < len(objects); i++ {
		err = guard(func() error { return p.add(i, objects[i]) })
	}
	if err != nil {
		return nil, fmt.Errorf("linking kernels: LLVM %s: %w", l.Version(), errors.Join(err, p.Close()))
	}
	return p, nil
}

// create makes an empty program that finds the functions of the process.
func (p *Program) create() error {
	b := &p.l.b
	if err := b.failure(b.OrcCreateLLJIT(&p.jit, 0)); err != nil {
		return err
	}
	b.OrcExecutionSessionSetErrorReporter(b.OrcLLJITGetExecutionSession(p.jit), p.l.calls.session, unsafe.Pointer(p.sink))
	var process ref
	if err := b.failure(b.OrcCreateDynamicLibrarySearchGeneratorForProcess(&process, b.OrcLLJITGetGlobalPrefix(p.jit), 0, 0)); err != nil {
		return err
	}
	b.OrcJITDylibAddGenerator(b.OrcLLJITGetMainJITDylib(p.jit), process)
	return nil
}

func (p *Program) add(i int, object []byte) error {
	if len(object) == 0 {
		return fmt.Errorf("object %d is empty", i)
	}
	b := &p.l.b
	err := b.failure(b.OrcLLJITAddObjectFile(p.jit, b.OrcLLJITGetMainJITDylib(p.jit), b.buffer(object, fmt.Sprintf("object %d", i))))
	if err != nil {
		return fmt.Errorf("object %d: %w", i, err)
	}
	return nil
}

// Symbol is the address of a function or variable. It is valid until Close.
func (p *Program) Symbol(name string) (uintptr, error) {
	if p.jit == 0 {
		return 0, fmt.Errorf("symbol %s: the program is closed", name)
	}
	var address uint64
	err := guard(func() error {
		return p.l.b.failure(p.l.b.OrcLLJITLookup(p.jit, &address, name))
	})
	if err == nil {
		return uintptr(address), nil
	}
	// The first report has the cause; the lookup only says that it failed.
	if cause := p.sink.take(); cause != nil {
		err = cause
	}
	return 0, fmt.Errorf("symbol %s: LLVM %s: %w", name, p.l.Version(), err)
}

// Close frees the program's code and data, of which nothing may run or be read
// any more. A second call does nothing.
func (p *Program) Close() error {
	if p.jit == 0 {
		return nil
	}
	jit := p.jit
	p.jit = 0
	err := guard(func() error { return p.l.b.failure(p.l.b.OrcDisposeLLJIT(jit)) })
	p.pin.Unpin()
	return err
}
