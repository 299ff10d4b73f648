// Package shrink makes a kernel's text shorter without changing what it computes: the
// same operations run on the same numbers in the same order.
//
// Families of kernels are Go code that writes statements, so what is done several times
// stands in the kernel several times. Text has a price: a Mac compiles it when a model is
// first opened, and what its compiler takes grows faster than the text.
//
//   - Statements that repeat one after the other, with constants that advance by equal
//     steps, become a loop (roll.go).
//   - If they work on values of their own, those become variables under one name first,
//     and the loop takes one after the other (family.go).
package shrink

import (
	"errors"
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
)

// Kernel is k with shorter text. k itself stays as it is.
func Kernel(k *kernel.Kernel) (*kernel.Kernel, error) {
	short := *k
	for _, families := range []*families{familiesOf(k), nil} {
		r := &roller{names: namesOf(k), families: families}
		short.Body = families.declared(families.in(r.block(k.Body)))
		err := kernel.Verify(&short)
		if err == nil {
			return &short, nil
		}
		// Members agree on less than each did by itself: variables under one name do not
		// stand where all lanes must have the same.
		var apart *kernel.DivergenceError
		if families == nil || !errors.As(err, &apart) {
			return nil, fmt.Errorf("after its text was shortened: %w", err)
		}
	}
	return &short, nil
}

// names are those that a kernel has.
type names struct {
	taken map[string]bool
	also  *names // those of the kernel itself, if these are of a trial
}

func namesOf(k *kernel.Kernel) *names {
	n := &names{taken: map[string]bool{}}
	for _, p := range k.Params {
		n.taken[p.Name] = true
	}
	for _, s := range k.Shared {
		n.taken[s.Name] = true
	}
	kernel.Declared(k.Body, func(name string) { n.taken[name] = true })
	return n
}

// fresh is a name that nothing has, or the same with a number behind it.
func (n *names) fresh(name string) string {
	as := name
	for i := 2; n.has(as); i++ {
		as = fmt.Sprintf("%s_%d", name, i)
	}
	n.taken[as] = true
	return as
}

func (n *names) has(name string) bool { return n != nil && (n.taken[name] || n.also.has(name)) }

// within is a statement with other blocks.
func within(s kernel.Stmt, change func([]kernel.Stmt) []kernel.Stmt) kernel.Stmt {
	switch s := s.(type) {
	case *kernel.For:
		c := *s
		c.Body = change(s.Body)
		return &c
	case *kernel.If:
		c := *s
		c.Then, c.Else = change(s.Then), change(s.Else)
		return &c
	}
	return s
}
