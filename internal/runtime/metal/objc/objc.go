// Package objc calls Objective-C: it has one table of methods with their signatures,
// and typed functions over it. The C functions underneath are a table too (Entry): on a
// Mac libobjc's and Metal's (Native), in tests those of a runtime in Go (package fake).
//
// Ownership is Cocoa's: what a function whose name begins with New returns is
// the caller's, who releases it; everything else lives as long as the autorelease
// pool it was made in, or its owner.
package objc

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"
)

// ID is a pointer to an Objective-C object; 0 is nil.
type ID uintptr

// Entry is the table of C entry points.
type Entry struct {
	// Send is objc_msgSend for methods that take and return words: args are the
	// receiver, the selector and the method's own. Structs of more than 16 bytes
	// are passed by a pointer to a copy (AAPCS64, 6.8.2 rule B.4). It allocates
	// nothing.
	Send func(args []uintptr) uintptr
	// SendFloat64 is objc_msgSend for methods without arguments that return a double.
	SendFloat64 func(receiver ID, selector uintptr) float64
	// Class is objc_getClass: 0 if there is no class of that name.
	Class func(name string) ID
	// Selector is sel_registerName.
	Selector func(name string) uintptr
	// PoolPush is objc_autoreleasePoolPush.
	PoolPush func() uintptr
	// PoolPop is objc_autoreleasePoolPop; args are the pool. It allocates nothing.
	PoolPop func(args []uintptr)
	// DefaultDevice is MTLCreateSystemDefaultDevice; its result is the caller's.
	DefaultDevice func() ID
}

// ErrNotHere says that this machine has no Metal that smelt can use.
var ErrNotHere = errors.New("the metal device needs macOS on Apple silicon")

// API calls methods through an entry table.
type API struct {
	entry     Entry
	selectors [methodCount]uintptr
	classes   map[string]ID
}

// Bind looks every selector and class up once.
func Bind(e Entry) (*API, error) {
	a := &API{entry: e, classes: map[string]ID{}}
	for m, s := range methods {
		a.selectors[m] = e.Selector(s.Selector)
		if a.selectors[m] == 0 {
			return nil, fmt.Errorf("the Objective-C runtime registers no selector %s", s.Selector)
		}
		if !s.Static || a.classes[s.Owner] != 0 {
			continue
		}
		class := e.Class(s.Owner)
		if class == 0 && s.Since == 0 {
			return nil, fmt.Errorf("the Objective-C runtime has no class %s; smelt needs macOS 14 or later", s.Owner)
		}
		a.classes[s.Owner] = class
	}
	return a, nil
}

// Send is the entry table's, for loops that build their arguments themselves.
func (a *API) Send(args []uintptr) uintptr { return a.entry.Send(args) }

// Selector is the selector of a method.
func (a *API) Selector(m Method) uintptr { return a.selectors[m] }

// call sends a method to an object.
func (a *API) call(m Method, receiver ID, args ...uintptr) uintptr {
	s := &methods[m]
	if len(args) != len(s.Args) {
		panic(fmt.Sprintf("objc: %s takes %d arguments, not %d", s.Selector, len(s.Args), len(args)))
	}
	r := a.entry.Send(append([]uintptr{uintptr(receiver), a.selectors[m]}, args...))
	if s.Result == Bool { // the rest of the register is undefined (AAPCS64)
		return r & 0xff
	}
	return r
}

// static sends a class method to its class; nil if this macOS has no such class.
func (a *API) static(m Method, args ...uintptr) ID {
	class := a.classes[methods[m].Owner]
	if class == 0 {
		return 0
	}
	return ID(a.call(m, class, args...))
}

// responds tells whether an object knows a method, which newer systems add.
func (a *API) responds(receiver ID, m Method) bool {
	return a.call(RespondsToSelector, receiver, a.selectors[m]) != 0
}

// Pool runs f in an autorelease pool of its own, on one thread.
func (a *API) Pool(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pool := []uintptr{a.entry.PoolPush()}
	defer a.entry.PoolPop(pool)
	return f()
}

// PoolPush and PoolPop bracket a pool where a closure would cost an allocation.
// Both must run on one thread.
func (a *API) PoolPush() uintptr { return a.entry.PoolPush() }

// PoolPop ends the pool that PoolPush began, which is args' one element.
func (a *API) PoolPop(args []uintptr) { a.entry.PoolPop(args) }

// Retain takes a share of an object, which Release gives back.
func (a *API) Retain(id ID) { a.call(Retain, id) }

// Release gives an object back; nil is allowed.
func (a *API) Release(id ID) {
	if id != 0 {
		a.call(Release, id)
	}
}

// failing calls a method whose last argument is NSError **, and returns what it
// said if the result is 0.
func (a *API) failing(m Method, receiver ID, args ...uintptr) (uintptr, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	failure := new(ID)
	pin.Pin(failure)
	r := a.call(m, receiver, append(args, uintptr(unsafe.Pointer(failure)))...)
	if r == 0 {
		return 0, a.errorOf(*failure)
	}
	return r, nil
}

// Error is an NSError.
type Error struct {
	Domain string
	Code   int
	Text   string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%s %d)", e.Text, e.Domain, e.Code) }

// errorOf reads an NSError.
func (a *API) errorOf(id ID) error {
	if id == 0 {
		return &Error{"unknown", 0, "the system gave no reason"}
	}
	return &Error{
		Domain: a.text(ID(a.call(ErrorDomain, id))),
		Code:   int(a.call(ErrorCode, id)),
		Text:   a.text(ID(a.call(ErrorDescription, id))),
	}
}

// textLimit is the longest text that is read of a string.
const textLimit = 1 << 20

// text copies an NSString; "" of nil.
func (a *API) text(s ID) string {
	if s == 0 {
		return ""
	}
	at := a.call(StringUTF8, s)
	if at == 0 {
		return ""
	}
	start, n := (*byte)(Pointer(at)), 0
	for n < textLimit && *(*byte)(unsafe.Add(unsafe.Pointer(start), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(start, n))
}

// string makes an NSString that lives as long as the pool. Foundation makes none of
// what is not UTF-8, and ends a C string at its first NUL: both are replaced, for
// methods given nil instead end the process.
func (a *API) string(s string) ID {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	var pin runtime.Pinner
	defer pin.Unpin()
	bytes := append([]byte(s), 0)
	pin.Pin(&bytes[0])
	return a.static(StringWithUTF8, uintptr(unsafe.Pointer(&bytes[0])))
}

// Pointer is the address that a method returned, as a pointer to memory that Go
// does not own.
func Pointer(at uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&at)) }

// word is a BOOL argument.
func word(b bool) uintptr {
	if b {
		return 1
	}
	return 0
}
