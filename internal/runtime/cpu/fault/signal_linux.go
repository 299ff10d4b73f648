package fault

import (
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// action is Linux's struct sigaction, as the system call has it.
type action struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// siginfo is SA_SIGINFO: the handler gets the address of the fault and registers.
const siginfo = 4

// takeSignal puts a handler in the place of Go's, whose address it stores before.
// What else Go has set stays: the stack that handlers run on, the signals that wait
// meanwhile, the way back.
func takeSignal(code uintptr, pass *uint64) error {
	var a action
	if err := sigaction(nil, &a); err != nil {
		return err
	}
	if a.handler <= 1 || a.flags&siginfo == 0 {
		return errors.New("SIGBUS is not handled by Go in this process")
	}
	atomic.StoreUint64(pass, uint64(a.handler))
	a.handler = code
	return sigaction(&a, nil)
}

func sigaction(set, old *action) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGBUS), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), unsafe.Sizeof(action{}.mask), 0, 0)
	if errno != 0 {
		return os.NewSyscallError("rt_sigaction", errno)
	}
	return nil
}
