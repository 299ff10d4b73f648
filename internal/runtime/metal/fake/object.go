package fake

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/runtime/metal/objc"
)

// object is an Objective-C object. It lives as long as anything has a share of it.
type object struct {
	id    objc.ID
	class *class
	label string
	data  any // what its class keeps

	shares int // the caller's: +1 results and retains
	pooled int // autorelease pools'
	held   int // other objects' and the runtime's
	holds  []*object

	singleton bool // the runtime's own
	thread    int  // that may call it; 0 for any
	inFlight  int  // committed command buffers that use it and are not completed
	stamp     int  // the command buffer that last noted its use
}

// slot is where an ID points. IDs are never used again; a dead object's slot
// keeps only its class, for messages.
type slot struct {
	object *object
	class  *class
}

// firstID is where objects begin; idStep lies between them, as pointers are aligned.
const (
	firstID = 0x6000 << 32
	idStep  = 16
)

func idOf(slot int) objc.ID { return objc.ID(firstID + slot*idStep) }

// slotOf is the slot of an ID; nil if it is no object's.
func (r *Runtime) slotOf(id objc.ID) *slot {
	n := uintptr(id) - firstID
	if uintptr(id) < firstID || n%idStep != 0 || n/idStep >= uintptr(len(r.slots)) {
		return nil
	}
	return &r.slots[n/idStep]
}

// find is the live object of an ID.
func (r *Runtime) find(id objc.ID) (*object, bool) {
	s := r.slotOf(id)
	if s == nil || s.object == nil {
		return nil, false
	}
	return s.object, true
}

// object is the live object of a checked argument; nil of nil.
func (r *Runtime) object(arg uintptr) *object {
	o, _ := r.find(objc.ID(arg))
	return o
}

// describe names an object in messages.
func (r *Runtime) describe(id objc.ID) string {
	s := r.slotOf(id)
	switch {
	case id == 0:
		return "nil"
	case s == nil:
		return fmt.Sprintf("%#x", uintptr(id))
	case s.object == nil:
		return fmt.Sprintf("released %s %#x", s.class.name, uintptr(id))
	case s.class.meta:
		return "class " + s.class.name
	case s.object.label != "":
		return fmt.Sprintf("%s %#x %q", s.class.name, uintptr(id), s.object.label)
	}
	return fmt.Sprintf("%s %#x", s.class.name, uintptr(id))
}

// place gives an object its ID.
func (r *Runtime) place(o *object) {
	o.id = idOf(len(r.slots))
	r.slots = append(r.slots, slot{o, o.class})
}

// make makes an object that nothing has a share of yet.
func (r *Runtime) make(class string, data any) *object {
	o := &object{class: r.classes[class], data: data}
	r.place(o)
	return o
}

func (r *Runtime) singleton(class string) *object {
	o := r.make(class, nil)
	o.held, o.singleton = 1, true
	return o
}

// owned gives an object to the caller, as a +1 result.
func (r *Runtime) owned(o *object) uintptr {
	o.shares++
	return uintptr(o.id)
}

// hold gives o a share of part.
func (o *object) hold(part *object) {
	if part != nil {
		part.held++
		o.holds = append(o.holds, part)
	}
}

// unhold takes o's share of part back.
func (r *Runtime) unhold(o, part *object) {
	i := slices.Index(o.holds, part)
	o.holds = slices.Delete(o.holds, i, i+1)
	part.held--
	r.settle(part)
}

func (o *object) alive() bool { return o.shares+o.pooled+o.held > 0 }

// settle ends an object that nothing has a share of.
func (r *Runtime) settle(o *object) {
	if o.alive() {
		return
	}
	if o.inFlight > 0 {
		r.violate("%s is released while a command buffer that uses it is committed and not completed", r.describe(o.id))
	}
	id, holds := o.id, o.holds
	if o.class.destroy != nil {
		// Before its slot is cleared: what destroy reports names the object. After
		// it, o may be another object's.
		o.class.destroy(r, o)
	}
	r.slotOf(id).object = nil
	for _, part := range holds {
		part.held--
		r.settle(part)
	}
}

// rootMethods are those of all objects.
func rootMethods() []method {
	return []method{
		{selector: "retain", anywhere: true, do: func(r *Runtime, self *object, _ []uintptr) uintptr { return r.owned(self) }},
		{selector: "release", anywhere: true, do: func(r *Runtime, self *object, _ []uintptr) uintptr {
			if self.shares == 0 {
				r.violate("released more often than it was retained")
				return 0
			}
			self.shares--
			r.settle(self)
			return 0
		}},
		{selector: "respondsToSelector:", params: []string{word}, anywhere: true, do: func(r *Runtime, self *object, args []uintptr) uintptr {
			number, ok := r.numberOf(args[0])
			if !ok {
				r.violate("%#x is no selector", args[0])
				return 0
			}
			return yes(self.class.method(number) != nil)
		}},
	}
}

// yes is a BOOL.
func yes(b bool) uintptr {
	if b {
		return 1
	}
	return 0
}

// setLabel is the method of everything that has a label.
func setLabel() method {
	return method{selector: "setLabel:", params: []string{"NSString?"}, do: func(r *Runtime, self *object, args []uintptr) uintptr {
		self.label = r.text(args[0])
		return 0
	}}
}
