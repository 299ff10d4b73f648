package fake

import (
	"math"

	"smelt.example/smelt/internal/runtime/metal/objc"
)

// send is objc_msgSend.
func (r *Runtime) send(args []uintptr) uintptr {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(args) < 2 {
		r.call = site{}
		r.violate("objc_msgSend takes a receiver and a selector")
		return 0
	}
	return r.invoke(objc.ID(args[0]), args[1], args[2:], false)
}

// sendFloat64 is objc_msgSend for methods that return a double.
func (r *Runtime) sendFloat64(receiver objc.ID, selector uintptr) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return math.Float64frombits(uint64(r.invoke(receiver, selector, nil, true)))
}

// invoke checks a call against its method's signature and makes it.
func (r *Runtime) invoke(receiver objc.ID, selector uintptr, args []uintptr, double bool) uintptr {
	number, ok := r.numberOf(selector)
	if !ok {
		r.call = site{receiver, "?"}
		r.violate("%#x is no selector", selector)
		return 0
	}
	r.call = site{receiver, r.names[number]}
	r.calls[number]++
	self, ok := r.find(receiver)
	if !ok {
		r.violate("the receiver is no live object")
		return 0
	}
	m := self.class.method(number)
	switch {
	case r.closed:
		r.violate("the runtime is closed")
		return 0
	case m == nil:
		r.violate("unrecognized selector")
		return 0
	case m.double != double:
		r.violate("the result is a double: %t, and the call expects: %t", m.double, double)
		return 0
	case len(args) != len(m.params):
		r.violate("takes %d arguments, not %d", len(m.params), len(args))
		return 0
	case !r.check(m, args):
		return 0
	}
	if self.thread != 0 && !m.anywhere && self.thread != thread() {
		r.violate("called on another thread than the queue was made on")
	}
	return m.do(r, self, args)
}

// check tells whether arguments are live objects of their classes.
func (r *Runtime) check(m *method, args []uintptr) bool {
	for _, p := range m.objects {
		id := objc.ID(args[p.index])
		if id == 0 && p.optional {
			continue
		}
		o, ok := r.find(id)
		if !ok {
			r.violate("argument %d: %s is no live object", p.index, r.describe(id))
			return false
		}
		if o.class.meta || !o.class.is(p.class) {
			r.violate("argument %d: %s is no %s", p.index, r.describe(id), m.params[p.index])
			return false
		}
	}
	return true
}
