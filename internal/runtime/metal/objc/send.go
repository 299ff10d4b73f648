package objc

import "github.com/ebitengine/purego"

// sender calls the C function at fn with words. Of purego's ways this is the one
// that allocates nothing, given a slice that is there: functions made by
// RegisterFunc do, and so do arguments that are written out.
func sender(fn uintptr) func(args []uintptr) uintptr {
	return func(args []uintptr) uintptr {
		r, _, _ := purego.SyscallN(fn, args...)
		return r
	}
}
