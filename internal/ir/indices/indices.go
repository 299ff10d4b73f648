// Package indices follows the integers that a model stores to what they choose.
package indices

import (
	"fmt"

	"smelt.example/smelt/ir"
)

// Use says how a parameter of integers is used: its values are positions from 0 to
// Limit-1.
type Use struct {
	Limit int64
	// By names the module's input that picks the parameter's rows (token); "" where
	// something else does.
	By string
}

// Params finds the parameters whose integers pick elements, with the
// smallest number of those that any operation has. Operations check their
// indices in the evaluator; kernels do not, so that whoever runs kernels checks
// the stored integers before. It is an error if a step's sizes or arithmetic
// stand between a parameter and what it picks: there would be no limit to check.
func Params(m *ir.Module) (map[string]Use, error) {
	u := indexUses{from: map[*ir.Value]map[string]bool{}, found: map[string]Use{}, by: map[string]string{}}
	for _, n := range m.Nodes {
		if err := u.node(m, n); err != nil {
			return nil, fmt.Errorf("%s = %s: %w", n.Result.Ref(), n.Op.Name, err)
		}
	}
	for name, x := range u.found {
		x.By = u.by[name]
		u.found[name] = x
	}
	return u.found, nil
}

type indexUses struct {
	from  map[*ir.Value]map[string]bool // the parameters whose integers a value has
	found map[string]Use
	by    map[string]string
}

// node follows integers through one operation.
func (u *indexUses) node(m *ir.Module, n *ir.Node) error {
	integers := n.Result.Type.Elem == ir.I32 && !n.Result.Type.State
	if n.Op.Refers == ir.RefersToParam && integers {
		u.carry(n.Result, n.Symbol)
	}
	for i, a := range n.Args {
		x, indexes := use(n.Op, i)
		for param := range u.from[a] {
			switch {
			case indexes:
				if err := u.pick(param, n, x); err != nil {
					return err
				}
			case integers && n.Op.Computes:
				return fmt.Errorf("the integers of parameter @%s go into arithmetic, so that what they index has no limit to check", param)
			case integers:
				u.carry(n.Result, param)
			}
		}
		if indexes && a.Def == nil {
			for param := range u.from[n.Args[x.Into]] {
				u.by[param] = a.Name
			}
		}
	}
	return nil
}

func (u *indexUses) carry(v *ir.Value, param string) {
	if u.from[v] == nil {
		u.from[v] = map[string]bool{}
	}
	u.from[v][param] = true
}

// pick notes that a parameter's integers are positions.
func (u *indexUses) pick(param string, n *ir.Node, x ir.Index) error {
	into := n.Args[x.Into].Type
	axis := x.Axis
	if axis < 0 {
		axis += into.Rank()
	}
	limit, known := int64(0), false
	if !into.State {
		limit, known = into.Shape[axis].Value()
	}
	if !known {
		return fmt.Errorf("the integers of parameter @%s index %s, whose size only a step knows", param, into)
	}
	if old, seen := u.found[param]; seen {
		limit = min(limit, old.Limit)
	}
	u.found[param] = Use{Limit: limit}
	return nil
}

// use is the use of operand i as an index, if it is one.
func use(op *ir.Op, i int) (ir.Index, bool) {
	for _, x := range op.Indexes {
		if x.Operand == i {
			return x, true
		}
	}
	return ir.Index{}, false
}
