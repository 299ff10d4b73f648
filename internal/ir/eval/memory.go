package eval

import (
	"fmt"
	"unsafe"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
)

// Sizes bound the steps of a machine.
type Sizes struct {
	Rows    int // of a step
	Wanted  int // of them, whose results are asked for
	Context int // tokens of a slot
	Slots   int
}

// Memory bounds the bytes that a machine of precision F holds when its slots are full:
// its states, and the values of a step that are there at the same time. Operations
// take a little more while they run.
func Memory[F tensor.Float](m *ir.Module, s Sizes) (states, values int64, err error) {
	var f F
	env := s.env(m)
	for _, st := range m.States {
		rows, err := s.keptRows(st, env)
		if err != nil {
			return 0, 0, err
		}
		states += rows * int64(tensor.Len(constants(st.Row.Shape))) * int64(unsafe.Sizeof(f)) * int64(s.Slots)
	}
	size := func(v *ir.Value) (int64, error) {
		n := int64(unsafe.Sizeof(f))
		if v.Type.Elem == ir.I32 {
			n = 4
		}
		if v.Type.State {
			return 0, nil
		}
		for _, d := range v.Type.Shape {
			x, err := d.Eval(env)
			if err != nil {
				return 0, err
			}
			n *= max(x, 0)
		}
		return n, nil
	}
	last, sizes, now := lastUses(m), map[*ir.Value]int64{}, int64(0)
	for i, n := range m.Nodes {
		if n.Op.Effect != ir.ReadsWeights { // decoded where it is used
			if sizes[n.Result], err = size(n.Result); err != nil {
				return 0, 0, fmt.Errorf("%s: %w", n.Result.Ref(), err)
			}
		}
		now += sizes[n.Result]
		values = max(values, now)
		for _, v := range append(n.Args[:len(n.Args):len(n.Args)], n.Result) {
			if last[v] == i {
				now -= sizes[v]
				delete(sizes, v)
			}
		}
	}
	return states, values, nil
}

// env has the symbols of the largest step, that at the end of a full context.
func (s Sizes) env(m *ir.Module) ir.Env {
	symbols := map[string]int64{}
	for _, x := range m.Symbols {
		switch x.Def {
		case ir.Rows:
			symbols[x.Name] = int64(s.Rows)
		case ir.Wanted:
			symbols[x.Name] = int64(s.Wanted)
		case ir.Reach:
			symbols[x.Name] = int64(s.Context)
		case ir.Closing:
			symbols[x.Name] = (int64(s.Rows) + x.Arg - 1) / x.Arg
		}
	}
	return func(name string) (int64, bool) { n, ok := symbols[name]; return n, ok }
}

// keptRows is how many rows a slot's log of a state has at most room for. Logs drop rows
// when they have twice those that are kept, and more than a few.
func (s Sizes) keptRows(st *ir.State, env ir.Env) (int64, error) {
	keep, err := st.Keep.Eval(env)
	if err != nil {
		return 0, fmt.Errorf("state @%s: keep: %w", st.Name, err)
	}
	_, constant := st.Keep.Value()
	if !constant {
		return keep, nil // grows with the text, and nothing is dropped
	}
	return min(2*keep+64, int64(s.Context)) + int64(s.Rows), nil
}
