package objc

import (
	"fmt"

	"github.com/ebitengine/purego"
)

// Native is the entry table of this Mac. CoreGraphics is loaded because
// MTLCreateSystemDefaultDevice finds no device for a process without it.
func Native() (Entry, error) {
	libs := map[string]uintptr{}
	for _, path := range []string{
		"/usr/lib/libobjc.A.dylib",
		"/System/Library/Frameworks/Foundation.framework/Foundation",
		"/System/Library/Frameworks/CoreGraphics.framework/CoreGraphics",
		"/System/Library/Frameworks/Metal.framework/Metal",
	} {
		lib, err := purego.Dlopen(path, purego.RTLD_LAZY|purego.RTLD_GLOBAL)
		if err != nil {
			return Entry{}, fmt.Errorf("%w: %w", ErrNotHere, err)
		}
		libs[path] = lib
	}
	objc, metal := libs["/usr/lib/libobjc.A.dylib"], libs["/System/Library/Frameworks/Metal.framework/Metal"]
	send, err := purego.Dlsym(objc, "objc_msgSend")
	if err != nil {
		return Entry{}, err
	}
	var e Entry
	for _, f := range []struct {
		lib  uintptr
		name string
		fn   any
	}{
		{objc, "objc_getClass", &e.Class},
		{objc, "sel_registerName", &e.Selector},
		{metal, "MTLCreateSystemDefaultDevice", &e.DefaultDevice},
	} {
		at, err := purego.Dlsym(f.lib, f.name)
		if err != nil {
			return Entry{}, err
		}
		purego.RegisterFunc(f.fn, at)
	}
	e.Send = sender(send)
	push, err := purego.Dlsym(objc, "objc_autoreleasePoolPush")
	if err != nil {
		return Entry{}, err
	}
	pop, err := purego.Dlsym(objc, "objc_autoreleasePoolPop")
	if err != nil {
		return Entry{}, err
	}
	pushed, popped := sender(push), sender(pop)
	e.PoolPush = func() uintptr { return pushed(nil) }
	e.PoolPop = func(args []uintptr) { popped(args) }
	purego.RegisterFunc(&e.SendFloat64, send)
	return e, nil
}
