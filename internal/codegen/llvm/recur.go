package llvm

import (
	"fmt"
	"maps"
	"math"
	"strings"

	"github.com/llir/llvm/ir"

	"smelt.example/smelt/internal/codegen/kernel"
)

// A kernel of several products has a loop for each. Their texts differ in the buffers that
// they read and the numbers that they begin with; the same holds for copies of input. A
// loop's code takes longer to make than to call, so such loops become one function.

// leastRecurring is the least number of expressions of a loop that becomes a function.
const leastRecurring = 16

// recurring is a loop that a kernel has more than once, as a kernel of its own. Its names
// say their kind and number.
type recurring struct {
	k       *kernel.Kernel // its body is the loop
	uniform map[string]bool
	inPlace map[string]side
	inside  map[string]bool     // names of locals and fragments that the loop declares
	bounds  map[string]bool     // locals that are bounds or steps of loops
	made    map[string]*ir.Func // by what is handed over
	times   int                 // that it stands there
}

// occurrence is one place where it stands.
type occurrence struct {
	*recurring
	names map[kernel.NameKind][]string // what its names stand for there
}

// recurringLoops finds the outermost loops that f's kernel has more than once.
func recurringLoops(f *function) map[*kernel.For]*occurrence {
	s := &search{f, map[uint64]int{}, map[string]*recurring{}, map[*kernel.For]*occurrence{}}
	s.count(f.k.Body)
	for loops := longLoops(f.k.Body); len(loops) > 0; {
		alone := s.match(loops)
		loops = nil
		for _, loop := range alone {
			loops = append(loops, longLoops(loop.Body)...)
		}
	}
	maps.DeleteFunc(s.found, func(_ *kernel.For, o *occurrence) bool { return o.times == 1 })
	return s.found
}

// search looks for recurring loops, the outer ones first.
type search struct {
	f      *function
	alike  map[uint64]int // loops of a fingerprint
	byText map[string]*recurring
	found  map[*kernel.For]*occurrence
}

// count counts fingerprints: most loops stand in a kernel once, and need no other
// look.
func (s *search) count(body []kernel.Stmt) {
	for _, loop := range longLoops(body) {
		s.alike[fingerprint(loop)]++
		s.count(loop.Body)
	}
}

// match finds those of some loops that recur, and returns the others.
func (s *search) match(loops []*kernel.For) (alone []*kernel.For) {
	for _, loop := range loops {
		if s.alike[fingerprint(loop)] == 1 {
			continue
		}
		o := s.f.occurrenceOf(loop)
		key := o.key()
		if have := s.byText[key]; have != nil {
			o.recurring = have
		}
		s.byText[key], s.found[loop] = o.recurring, o
		o.times++
	}
	for _, loop := range loops {
		if o := s.found[loop]; o == nil || o.times == 1 {
			alone = append(alone, loop)
		}
	}
	return alone
}

// longLoops lists the outermost loops of a body that are long enough to be functions.
func longLoops(body []kernel.Stmt) (loops []*kernel.For) {
	for _, s := range body {
		switch s := s.(type) {
		case *kernel.For:
			size := 0
			kernel.Exprs(s.Body, func(*kernel.Expr) { size++ })
			if size >= leastRecurring {
				loops = append(loops, s)
			}
		case *kernel.If:
			loops = append(append(loops, longLoops(s.Then)...), longLoops(s.Else)...)
		}
	}
	return loops
}

// fingerprint is a hash of a loop's operations and constants.
func fingerprint(loop *kernel.For) uint64 {
	const prime = 1099511628211 // of FNV-1a, 64 bits
	h := uint64(14695981039346656037)
	kernel.Exprs([]kernel.Stmt{loop}, func(e *kernel.Expr) {
		for _, n := range [...]uint64{uint64(e.Op), uint64(e.Int), math.Float64bits(e.Float)} {
			h = (h ^ n) * prime
		}
	})
	return h
}

// occurrenceOf is a loop under names of its own.
func (f *function) occurrenceOf(loop *kernel.For) *occurrence {
	o := &occurrence{&recurring{
		k:       &kernel.Kernel{Name: f.k.Name, Schedule: f.k.Schedule, Step: &kernel.StepLayout{}},
		uniform: map[string]bool{}, inPlace: map[string]side{}, inside: map[string]bool{}, bounds: map[string]bool{}, made: map[string]*ir.Func{},
	}, map[kernel.NameKind][]string{}}
	number := map[kernel.NameKind]map[string]string{}
	o.k.Body = kernel.Renamed([]kernel.Stmt{loop}, func(kind kernel.NameKind, name string) string {
		if as, known := number[kind][name]; known {
			return as
		}
		if number[kind] == nil {
			number[kind] = map[string]string{}
		}
		as := nameOf(kind, len(o.names[kind]))
		number[kind][name] = as
		o.names[kind] = append(o.names[kind], name)
		f.describe(o.recurring, kind, name, as)
		return as
	})
	kernel.Declared(o.k.Body, func(name string) { o.inside[name] = true })
	o.bound(o.k.Body)
	return o
}

// bound notes the bounds and steps of a body's loops.
func (r *recurring) bound(body []kernel.Stmt) {
	for _, s := range body {
		switch s := s.(type) {
		case *kernel.For:
			for _, e := range []*kernel.Expr{s.Lo, s.Hi, s.Step} {
				r.bounds[e.Name] = true
			}
			r.bound(s.Body)
		case *kernel.If:
			r.bound(s.Then)
			r.bound(s.Else)
		}
	}
}

// nameOf is the name of number n of a kind within a recurring loop.
func nameOf(kind kernel.NameKind, n int) string {
	return fmt.Sprint([...]string{
		kernel.LocalName: "local", kernel.FragmentName: "fragment", kernel.ScalarName: "scalar",
		kernel.PointerName: "pointer", kernel.SharedName: "shared", kernel.FieldName: "field",
	}[kind], n)
}

// describe gives a recurring loop what the kernel knows of a name.
func (f *function) describe(r *recurring, kind kernel.NameKind, name, as string) {
	switch kind {
	case kernel.LocalName:
		r.uniform[as] = f.uniform[name]
	case kernel.FragmentName:
		r.inPlace[as] = f.inPlace[name]
	case kernel.ScalarName, kernel.PointerName:
		p := *f.k.Param(name)
		p.Name = as
		r.k.Params = append(r.k.Params, &p)
	case kernel.SharedName:
		for _, s := range f.k.Shared {
			if s.Name == name {
				r.k.Shared = append(r.k.Shared, &kernel.Shared{Name: as, Elem: s.Elem, Len: 1})
			}
		}
	case kernel.FieldName:
		field := *f.k.Step.Field(name)
		field.Name, field.Len = as, min(field.Len, 1)
		r.k.Step.Fields = append(r.k.Step.Fields, field)
	}
}

// key is the same for loops that one function can serve.
func (o *occurrence) key() string {
	var b strings.Builder
	b.WriteString(kernel.Print(o.k))
	for n := range o.names[kernel.LocalName] {
		fmt.Fprint(&b, o.uniform[nameOf(kernel.LocalName, n)], " ")
	}
	for n := range o.names[kernel.FragmentName] {
		fmt.Fprint(&b, o.inPlace[nameOf(kernel.FragmentName, n)], " ")
	}
	return b.String()
}
