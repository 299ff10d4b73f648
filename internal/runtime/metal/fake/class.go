package fake

import (
	"slices"
	"strings"

	"smelt.example/smelt/internal/runtime/metal/objc"
)

// class is a class or a protocol, or what a class object answers to (meta).
type class struct {
	name     string
	parent   *class
	extends  string // the parent's name
	meta     bool
	since    int // the macOS that brought it; 0 for all
	static   []method
	instance []method
	// destroy frees what an object has beside other objects.
	destroy func(*Runtime, *object)
	table   []*method // by selector's number; nil where it has none
}

// method is a class's function for a selector.
type method struct {
	selector string
	// params are the arguments' kinds: word, pointer, failure, or an object's
	// class, with a ? where nil is allowed.
	params []string
	double bool // the result is in a floating-point register
	// anywhere lets any thread call it. Methods that only prepare a dispatch are
	// so too: asking for the thread costs more than they do, and it is asked for at
	// the dispatch.
	anywhere bool
	since    int
	do       func(r *Runtime, self *object, args []uintptr) uintptr

	objects []param // of params, those that are objects
}

// param is an argument that is an object.
type param struct {
	index    int
	class    *class
	optional bool
}

// Kinds of arguments that are not objects.
const (
	word    = "word"
	pointer = "pointer"
	failure = "NSError **"
)

// declare makes all classes.
func (r *Runtime) declare() {
	r.classes = map[string]*class{}
	all := slices.Concat(foundation(), deviceClasses(), libraryClasses(), pipelineClasses(), archiveClasses(),
		bufferClasses(), residencyClasses(), queueClasses(), encoderClasses(), eventClasses())
	for _, c := range all {
		if c.since == 0 || r.options.Residency {
			r.classes[c.name] = c
		}
	}
	for _, c := range all {
		for _, m := range slices.Concat(c.static, c.instance) {
			r.number(m.selector)
		}
	}
	for _, c := range all { // parents come before their children
		c.parent = r.classes[c.extends]
		if c.parent != nil {
			c.table = slices.Clone(c.parent.table)
		}
		r.fill(c, c.instance)
		meta := &class{name: c.name, meta: true}
		r.fill(meta, c.static)
		if r.classes[c.name] == c {
			r.place(&object{class: meta, held: 1, singleton: true})
		}
	}
}

// fill puts methods into a class's table.
func (r *Runtime) fill(c *class, methods []method) {
	if c.table == nil {
		c.table = make([]*method, len(r.names))
	}
	for i := range methods {
		m := &methods[i]
		if m.since != 0 && !r.options.Residency {
			continue
		}
		for at, kind := range m.params {
			if kind == word || kind == pointer || kind == failure {
				continue
			}
			name, optional := strings.CutSuffix(kind, "?")
			m.objects = append(m.objects, param{at, r.classes[name], optional})
		}
		c.table[r.selectors[m.selector]] = m
	}
}

func (c *class) method(selector int) *method {
	if selector >= len(c.table) {
		return nil
	}
	return c.table[selector]
}

// is tells whether c is of the class other.
func (c *class) is(other *class) bool {
	for ; c != nil; c = c.parent {
		if c == other {
			return true
		}
	}
	return false
}

// firstSelector is where selectors begin: apart from objects and addresses, so
// that a mix-up shows.
const firstSelector = 0x5e1 << 32

// number is the number of a selector.
func (r *Runtime) number(name string) int {
	n, ok := r.selectors[name]
	if !ok {
		n = len(r.names)
		r.selectors[name] = n
		r.names = append(r.names, name)
		r.calls = append(r.calls, 0)
	}
	return n
}

// selector is sel_registerName.
func (r *Runtime) selector(name string) uintptr {
	r.mu.Lock()
	defer r.mu.Unlock()
	return firstSelector + uintptr(r.number(name))
}

// numberOf is the number of a registered selector.
func (r *Runtime) numberOf(selector uintptr) (int, bool) {
	n := selector - firstSelector
	return int(n), selector >= firstSelector && n < uintptr(len(r.names))
}

// class is objc_getClass.
func (r *Runtime) class(name string) objc.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range r.slots {
		if s.class.meta && s.class.name == name {
			return idOf(i)
		}
	}
	return 0
}
