package fault

import (
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"
)

// action is Darwin's struct sigaction, as libSystem has it.
type action struct {
	handler uintptr
	mask    uint32
	flags   int32
}

// siginfo is SA_SIGINFO: the handler gets the address of the fault and registers.
const siginfo = 0x40

// takeSignal puts a handler in the place of Go's, whose address it stores before.
// What else Go has set stays: the stack that handlers run on and the signals that
// wait meanwhile.
func takeSignal(code uintptr, pass *uint64) error {
	sigaction, err := purego.Dlsym(purego.RTLD_DEFAULT, "sigaction")
	if err != nil {
		return err
	}
	a := new(action)
	var pin runtime.Pinner
	pin.Pin(a)
	defer pin.Unpin()
	call := func(set, old uintptr) error {
		if result, _, errno := purego.SyscallN(sigaction, uintptr(unix.SIGBUS), set, old); int32(result) != 0 {
			return os.NewSyscallError("sigaction", unix.Errno(errno))
		}
		return nil
	}
	at := uintptr(unsafe.Pointer(a))
	if err := call(0, at); err != nil {
		return err
	}
	if a.handler <= 1 || a.flags&siginfo == 0 {
		return errors.New("SIGBUS is not handled by Go in this process")
	}
	atomic.StoreUint64(pass, uint64(a.handler))
	a.handler = code
	return call(at, 0)
}
