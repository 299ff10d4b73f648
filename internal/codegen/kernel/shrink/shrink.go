// Package shrink makes a kernel's text shorter without changing what it computes: the
// same operations run on the same numbers in the same order.
//
// Families of kernels are Go code that writes statements, so what is done several times
// stands in the kernel several times. Text has a price: a Mac compiles it when a model is
// first opened, and what its compiler takes grows faster than the text.
//
//   - Statements that repeat one after the other, with constants that advance by equal
//     steps, become a loop (roll.go).
package shrink

import (
	"fmt"

	"smelt.example/smelt/internal/codegen/kernel"
)

// Kernel is k with shorter text. k itself stays as it is.
func Kernel(k *kernel.Kernel) (*kernel.Kernel, error) {
	short := *k
	n := namesOf(k)
	short.Body = (&roller{n}).block(k.Body)
	if err := kernel.Verify(&short); err != nil {
		return nil, fmt.Errorf("after its text was shortened: %w", err)
	}
	return &short, nil
}

// names are those that a kernel has.
type names struct{ taken map[string]bool }

func namesOf(k *kernel.Kernel) *names {
	n := &names{map[string]bool{}}
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
	for i := 2; n.taken[as]; i++ {
		as = fmt.Sprintf("%s_%d", name, i)
	}
	n.taken[as] = true
	return as
}

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
