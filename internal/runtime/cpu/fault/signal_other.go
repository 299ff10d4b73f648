//go:build !linux && !darwin

package fault

import (
	"errors"
	"runtime"
)

func takeSignal(uintptr, *uint64) error {
	return errors.New("signals are handled on Linux and macOS only, not on " + runtime.GOOS)
}
