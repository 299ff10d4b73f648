package fake

import (
	"fmt"
	"unsafe"

	"smelt.example/smelt/internal/runtime/metal/objc"
)

// text is an NSString's.
type text struct {
	value  string
	memory []byte // with a NUL at its end; nil until somebody asks
}

// errorInfo is an NSError's.
type errorInfo struct {
	domain string
	code   int
	text   string
}

// root is the class that all others extend.
const root = "NSObject"

func foundation() []*class {
	return []*class{
		{name: root, instance: rootMethods()},
		{name: "NSString", extends: root, destroy: freeText, static: []method{
			{selector: "stringWithUTF8String:", params: []string{pointer}, do: newText},
		}, instance: []method{{selector: "UTF8String", do: textBytes}}},
		{name: "NSArray", extends: root, static: []method{
			{selector: "arrayWithObject:", params: []string{root}, do: func(r *Runtime, _ *object, args []uintptr) uintptr {
				array := r.make("NSArray", nil)
				array.hold(r.object(args[0]))
				return r.autoreleased(array)
			}},
		}},
		{name: "NSURL", extends: root, static: []method{
			{selector: "fileURLWithPath:", params: []string{"NSString"}, do: func(r *Runtime, _ *object, args []uintptr) uintptr {
				return r.autoreleased(r.make("NSURL", r.text(args[0])))
			}},
		}},
		{name: "NSError", extends: root, instance: []method{
			{selector: "domain", do: func(r *Runtime, self *object, _ []uintptr) uintptr {
				return r.string(self.data.(errorInfo).domain)
			}},
			{selector: "code", do: func(_ *Runtime, self *object, _ []uintptr) uintptr {
				return uintptr(self.data.(errorInfo).code)
			}},
			{selector: "localizedDescription", do: func(r *Runtime, self *object, _ []uintptr) uintptr {
				return r.string(self.data.(errorInfo).text)
			}},
		}},
		{name: "NSProcessInfo", extends: root, static: []method{
			{selector: "processInfo", do: func(r *Runtime, _ *object, _ []uintptr) uintptr { return uintptr(r.processInfo.id) }},
		}, instance: []method{
			{selector: "physicalMemory", do: func(r *Runtime, _ *object, _ []uintptr) uintptr { return uintptr(r.options.Memory) }},
			{selector: "operatingSystemVersionString", do: func(r *Runtime, _ *object, _ []uintptr) uintptr {
				if r.options.Residency {
					return r.string("Version 15.0 (fake)")
				}
				return r.string("Version 14.0 (fake)")
			}},
		}},
	}
}

// string makes an autoreleased NSString.
func (r *Runtime) string(s string) uintptr {
	return r.autoreleased(r.make("NSString", &text{value: s}))
}

// text is the text of a checked argument; "" for nil.
func (r *Runtime) text(arg uintptr) string {
	if o := r.object(arg); o != nil {
		return o.data.(*text).value
	}
	return ""
}

func newText(r *Runtime, _ *object, args []uintptr) uintptr {
	if args[0] == 0 {
		r.violate("the text is NULL")
		return 0
	}
	at := objc.Pointer(args[0])
	n := 0
	for *(*byte)(unsafe.Add(at, n)) != 0 {
		n++
	}
	return r.string(string(unsafe.Slice((*byte)(at), n)))
}

// textBytes gives memory outside of Go's heap where it can: readers look for the
// NUL in a slice that is longer than the text.
func textBytes(r *Runtime, self *object, _ []uintptr) uintptr {
	t := self.data.(*text)
	if t.memory == nil {
		memory, err := allocate(len(t.value)+1, r.options.Pages)
		if err != nil {
			r.violate("no memory for %d bytes of text: %v", len(t.value), err)
			return 0
		}
		copy(memory, t.value)
		t.memory = memory
	}
	return uintptr(unsafe.Pointer(&t.memory[0]))
}

func freeText(r *Runtime, o *object) {
	t := o.data.(*text)
	if t.memory == nil {
		return
	}
	if err := free(t.memory); err != nil {
		r.violate("a text's memory: %v", err)
	}
	t.memory = nil
}

// newError makes an autoreleased NSError.
func (r *Runtime) newError(info errorInfo) uintptr {
	return r.autoreleased(r.make("NSError", info))
}

// fail makes a method with an NSError ** argument fail, and returns the method's result.
func (r *Runtime) fail(at uintptr, domain string, code int, format string, args ...any) uintptr {
	e := r.newError(errorInfo{domain, code, fmt.Sprintf(format, args...)})
	if at != 0 {
		*(*objc.ID)(objc.Pointer(at)) = objc.ID(e)
	}
	return 0
}
