package jit

import (
	"errors"
	"sync"

	"github.com/ebitengine/purego"
)

// callbacks are the C addresses of the functions LLVM tells of errors. There is
// one set for each library, since C addresses of Go functions are never freed;
// what belongs to one call is in the sink LLVM hands through.
type callbacks struct {
	diagnostic, session uintptr
}

// sink collects what LLVM reports beside its return values. LLVM holds its
// address: it must be pinned meanwhile.
type sink struct {
	mu    sync.Mutex
	lines []string
}

func (s *sink) add(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, oneLine(line))
}

// take returns the first report, and forgets all. Those that follow the first
// are its consequences.
func (s *sink) take() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) == 0 {
		return nil
	}
	line := s.lines[0]
	s.lines = nil
	return errors.New(line)
}

// fatal is LLVM's reason before it would end the process.
type fatal struct{ reason string }

func newCallbacks(b *bindings) callbacks {
	// LLVM ends the process when a fatal error's handler returns. This one
	// does not: the panic unwinds LLVM's frames, and guard turns it into an
	// error. What the call held is lost.
	b.ResetFatalErrorHandler() // there may be that of an earlier Open
	b.InstallFatalErrorHandler(purego.NewCallback(func(reason cString) {
		panic(fatal{oneLine(text(reason))})
	}))
	return callbacks{
		// Without a handler the first diagnostic that is an error ends the
		// process.
		diagnostic: purego.NewCallback(func(info ref, s *sink) {
			const severityError = 0
			if b.GetDiagInfoSeverity(info) == severityError {
				s.add(b.message(b.GetDiagInfoDescription(info)))
			}
		}),
		// Without a reporter, linking errors go to stderr.
		session: purego.NewCallback(func(s *sink, err ref) {
			if err := b.failure(err); err != nil {
				s.add(err.Error())
			}
		}),
	}
}

// guard runs calls into LLVM and returns a fatal error as an error.
func guard(calls func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			f, ok := r.(fatal)
			if !ok {
				panic(r)
			}
			err = errors.New(f.reason)
		}
	}()
	return calls()
}
