package main

import (
	"os"
	"runtime"
	"syscall"
	"testing"
)

// asOrdinaryUser runs f with an ordinary user's rights to files: as it is, or
// for root on a thread of its own that touches files as nobody does.
func asOrdinaryUser(t *testing.T, f func()) {
	if os.Geteuid() != 0 {
		f()
		return
	}
	const nobody = 65534
	done := make(chan struct{})
	go func() {
		defer close(done)      // also when f ends the test
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := syscall.Setfsuid(nobody); err != nil {
			t.Errorf("becoming an ordinary user: %v", err)
			return
		}
		f()
	}()
	<-done
}
