// Package eval runs a module on the operations' reference functions: the
// meaning of the IR, in plain Go. A machine holds the states of its slots; a
// step takes rows of any slots and returns the module's results.
package eval

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
)

// Row is one row of a step.
type Row = ir.Row

// Weights gives a parameter's values by name; nil for an unknown name.
type Weights func(name string) tensor.Source

// Machine evaluates one module in precision F. It is not safe for concurrent
// use; inside a step it uses all processors.
type Machine[F tensor.Float] struct {
	module  *ir.Module
	params  map[string]tensor.Source
	states  map[string]*tensor.Log[F]
	next    map[int32]int32   // per slot, the position of its next row
	lastUse map[*ir.Value]int // index of the node after which a value can be dropped
	files   []tensor.Files    // that parameters are read from
	at      atomic.Int64      // nodes of the step that runs which are computed; 0 between steps
	// Observe, if set, sees every named value of a step as it is computed.
	Observe func(name string, v tensor.Value[F])
	// Replace, if set, may put another value in a named value's place: tests
	// force the reference's choices with it. It must keep the shape.
	Replace func(name string, v tensor.Value[F]) tensor.Value[F]
	// Exchange, if set, is Replace for every value that a node computes, named or
	// not: it also sees the node and what its arguments were.
	Exchange func(n *ir.Node, args []tensor.Value[F], v tensor.Value[F]) tensor.Value[F]
}

// New prepares a machine. It fails when the module's inputs are not a step's,
// when a parameter has no values or the wrong number of them, and when the files
// that parameters are read from are not ready.
func New[F tensor.Float](m *ir.Module, w Weights) (*Machine[F], error) {
	if err := ir.Verify(m); err != nil {
		return nil, err
	}
	if err := checkInputs(m); err != nil {
		return nil, fmt.Errorf("module @%s: %w", m.Name, err)
	}
	ma := &Machine[F]{module: m, params: map[string]tensor.Source{}, states: map[string]*tensor.Log[F]{}, next: map[int32]int32{}, lastUse: lastUses(m)}
	for _, p := range m.Params {
		s := w(p.Name)
		if s == nil {
			return nil, fmt.Errorf("parameter @%s has no values", p.Name)
		}
		shape := constants(p.Type.Shape)
		if cols := shape[len(shape)-1]; s.Cols() != cols || s.Rows() != tensor.Len(shape)/cols {
			return nil, fmt.Errorf("parameter @%s: declared as %s, bound to %d x %d values", p.Name, p.Type, s.Rows(), s.Cols())
		}
		ma.params[p.Name] = s
		if stored, ok := s.(tensor.Stored); ok && !slices.Contains(ma.files, stored.Files()) {
			ma.files = append(ma.files, stored.Files())
		}
	}
	for _, f := range ma.files {
		if err := f.Ready(); err != nil {
			return nil, err
		}
	}
	for _, s := range m.States {
		ma.states[s.Name] = tensor.NewLog[F](tensor.Len(constants(s.Row.Shape)))
	}
	return ma, nil
}

// inputOrder names the inputs that a step feeds to a module.
var inputOrder = [...]string{"token", "position", "slot", "wanted"}

func checkInputs(m *ir.Module) error {
	sizes := map[string]ir.SymbolDef{}
	for _, s := range m.Symbols {
		sizes[s.Name] = s.Def
	}
	for _, in := range m.Inputs {
		want := ir.Rows
		if in.Name == "wanted" {
			want = ir.Wanted
		}
		if !slices.Contains(inputOrder[:], in.Name) || in.Type.Elem != ir.I32 || in.Type.Rank() != 1 {
			return fmt.Errorf("input %s: %s: a step feeds %v, each a tensor of i32 with one dimension", in.Ref(), in.Type, inputOrder)
		}
		name, isSymbol := in.Type.Shape[0].Symbol()
		if def, declared := sizes[name]; !isSymbol || !declared || def != want {
			return fmt.Errorf("input %s: %s: its size must be a symbol that is defined as %s", in.Ref(), in.Type, want)
		}
	}
	return nil
}

// constants evaluates a shape the verifier knows to be symbol-free.
func constants(shape []ir.Expr) []int {
	out := make([]int, len(shape))
	for i, d := range shape {
		n, _ := d.Value()
		out[i] = int(n)
	}
	return out
}

func lastUses(m *ir.Module) map[*ir.Value]int {
	last := map[*ir.Value]int{}
	for i, n := range m.Nodes {
		for _, a := range n.Args {
			last[a] = i
		}
		if _, used := last[n.Result]; !used {
			last[n.Result] = i
		}
	}
	for _, r := range m.Results {
		last[r] = len(m.Nodes)
	}
	return last
}

// check refuses rows that do not go on where their slot is.
func (ma *Machine[F]) check(rows []Row, wanted []int) error {
	if len(rows) == 0 {
		return fmt.Errorf("a step needs at least one row")
	}
	next := map[int32]int32{}
	for i, r := range rows {
		if r.Position < 0 || r.Slot < 0 {
			return fmt.Errorf("row %d: position %d and slot %d must be 0 or more", i, r.Position, r.Slot)
		}
		want, seen := next[r.Slot]
		if !seen {
			want = ma.next[r.Slot]
		}
		if r.Position != want {
			return fmt.Errorf("row %d: slot %d goes on at position %d, not %d", i, r.Slot, want, r.Position)
		}
		next[r.Slot] = r.Position + 1
	}
	for _, w := range wanted {
		if w < 0 || w >= len(rows) {
			return fmt.Errorf("wanted row %d is outside %d rows", w, len(rows))
		}
	}
	return nil
}

// Step runs the module over rows. Rows of one slot must have consecutive
// positions that follow what the slot has seen. wanted lists the rows whose
// results are asked for (the module's @wanted input). On an error no state changes.
// It is an error if a parameter's file changed meanwhile.
func (ma *Machine[F]) Step(rows []Row, wanted []int) ([]tensor.Value[F], error) {
	if err := ma.check(rows, wanted); err != nil {
		return nil, err
	}
	st := newStep(ma, rows, wanted)
	keep, err := st.retention()
	if err != nil {
		return nil, err
	}
	defer ma.at.Store(0)
	for i, n := range ma.module.Nodes {
		ma.at.Store(int64(i))
		if err := st.run(n); err != nil {
			st.rollback()
			if changed := ma.intact(); changed != nil {
				return nil, changed // and whatever came of it
			}
			return nil, fmt.Errorf("%s = %s: %w", n.Result.Ref(), n.Op.Name, err)
		}
		for _, v := range append(n.Args[:len(n.Args):len(n.Args)], n.Result) {
			if ma.lastUse[v] == i {
				delete(st.values, v)
			}
		}
	}
	if err := ma.intact(); err != nil {
		st.rollback()
		return nil, err
	}
	st.commit(keep)
	results := make([]tensor.Value[F], len(ma.module.Results))
	for i, r := range ma.module.Results {
		results[i] = st.values[r]
	}
	return results, nil
}

// Pace is how many of the module's nodes the step that runs has computed, of how many;
// 0 of them between steps. Any goroutine may ask at any time.
func (ma *Machine[F]) Pace() (done, total int) { return int(ma.at.Load()), len(ma.module.Nodes) }

// intact asks the files that parameters are read from.
func (ma *Machine[F]) intact() error {
	for _, f := range ma.files {
		if err := f.Intact(); err != nil {
			return err
		}
	}
	return nil
}

// Reset forgets a slot, which may then begin again at position 0.
func (ma *Machine[F]) Reset(slot int32) {
	delete(ma.next, slot)
	for _, s := range ma.states {
		s.Reset(slot)
	}
}

// TakeBack makes what a slot has seen shorter again, by the last rows of it: at most
// tensor.Spare of them.
func (ma *Machine[F]) TakeBack(slot int32, length int) error {
	have := int(ma.next[slot])
	if length < 0 || length > have || have-length > tensor.Spare {
		return fmt.Errorf("slot %d has %d tokens and cannot go back to %d", slot, have, length)
	}
	if length == have {
		return nil
	}
	for _, roll := range []bool{true, false} {
		if err := ma.of(roll, length, func(s *ir.State, _, next int) error { ma.states[s.Name].Truncate(slot, next); return nil }); err != nil {
			return err
		}
	}
	ma.next[slot] = int32(length)
	return nil
}

// step is one execution of the module.
type step[F tensor.Float] struct {
	ma     *Machine[F]
	rows   []Row
	env    ir.Env
	values map[*ir.Value]tensor.Value[F]
}

func newStep[F tensor.Float](ma *Machine[F], rows []Row, wanted []int) *step[F] {
	st := &step[F]{ma: ma, rows: rows, values: map[*ir.Value]tensor.Value[F]{}}
	symbols := map[string]int64{}
	for _, s := range ma.module.Symbols {
		symbols[s.Name] = symbolValue(s, rows, wanted)
	}
	st.env = func(name string) (int64, bool) { n, ok := symbols[name]; return n, ok }
	for _, in := range ma.module.Inputs {
		st.values[in] = inputValue[F](in.Name, rows, wanted)
	}
	return st
}

func symbolValue(s ir.Symbol, rows []Row, wanted []int) (n int64) {
	switch s.Def {
	case ir.Rows:
		return int64(len(rows))
	case ir.Wanted:
		return int64(len(wanted))
	case ir.Reach:
		for _, r := range rows {
			n = max(n, int64(r.Position)+1)
		}
	case ir.Closing:
		for _, r := range rows {
			if (int64(r.Position)+1)%s.Arg == 0 {
				n++
			}
		}
	}
	return n
}

func inputValue[F tensor.Float](name string, rows []Row, wanted []int) tensor.Value[F] {
	var data []int32
	for _, r := range rows {
		switch name {
		case "token":
			data = append(data, r.Token)
		case "position":
			data = append(data, r.Position)
		case "slot":
			data = append(data, r.Slot)
		}
	}
	if name == "wanted" {
		for _, w := range wanted {
			data = append(data, int32(w))
		}
	}
	return tensor.Value[F]{Shape: []int{len(data)}, I: data}
}

// maxElements bounds one intermediate, so that a wrong size is an error and
// not an out-of-memory kill: 2^31 are 8 GB in float32. maxParameter bounds a
// parameter, which stays in its file.
const (
	maxElements  = 1 << 31
	maxParameter = 1 << 48
)

func (st *step[F]) run(n *ir.Node) error {
	c := &ir.Call[F]{Node: n, Env: st.env, Parallel: parallel}
	elements, limit := int64(1), int64(maxElements)
	if n.Op.Effect == ir.ReadsWeights {
		limit = maxParameter
	}
	for _, d := range n.Result.Type.Shape {
		size, err := d.Eval(st.env)
		if err != nil {
			return err
		}
		if size < 0 || size > limit/elements {
			return fmt.Errorf("result %s: size %s is %d; sizes are 0 or more, and the evaluator holds %d elements", n.Result.Type, d, size, limit)
		}
		elements *= max(size, 1)
		c.Shape = append(c.Shape, int(size))
	}
	for _, a := range n.Args {
		c.Args = append(c.Args, st.values[a])
	}
	switch n.Op.Refers {
	case ir.RefersToParam:
		c.Param = st.ma.params[n.Symbol]
	case ir.RefersToState:
		c.State = st.ma.states[n.Symbol]
	}
	if err := execute(n.Op.Execute, c); err != nil {
		return err
	}
	shape := c.Out.Shape
	st.show(c)
	if !slices.Equal(c.Out.Shape, shape) {
		return fmt.Errorf("replaced by a value of shape %v, computed %v", c.Out.Shape, shape)
	}
	st.values[n.Result] = c.Out
	return nil
}

// show lets the machine's owner see a result, and replace it.
func (st *step[F]) show(c *ir.Call[F]) {
	if name := c.Node.Result.Name; name != "" {
		if st.ma.Observe != nil {
			st.ma.Observe(name, c.Out)
		}
		if st.ma.Replace != nil {
			c.Out = st.ma.Replace(name, c.Out)
		}
	}
	if st.ma.Exchange != nil {
		c.Out = st.ma.Exchange(c.Node, c.Args, c.Out)
	}
}

// execute picks the reference of the evaluator's precision. A parameter whose
// rows cannot be read is its error.
func execute[F tensor.Float](r ir.Reference, c *ir.Call[F]) (err error) {
	defer func() {
		if u := unreadable(recover()); u != nil {
			err = u.Err
		}
	}()
	switch c := any(c).(type) {
	case *ir.Call[float32]:
		return r.F32(c)
	case *ir.Call[float64]:
		return r.F64(c)
	}
	panic("eval: a precision without reference functions")
}

// retention evaluates how many rows each state keeps.
func (st *step[F]) retention() (map[string]int, error) {
	keep := map[string]int{}
	for _, s := range st.ma.module.States {
		n, err := s.Keep.Eval(st.env)
		if err == nil && n < 0 {
			err = fmt.Errorf("%s is %d; expected 0 or more", s.Keep, n)
		}
		if err != nil {
			return nil, fmt.Errorf("state @%s: keep: %w", s.Name, err)
		}
		keep[s.Name] = int(n)
	}
	return keep, nil
}

func (st *step[F]) rollback() {
	for _, log := range st.ma.states {
		for _, slot := range log.Pending() {
			log.Rollback(slot)
		}
	}
}

func (st *step[F]) commit(keep map[string]int) {
	for name, log := range st.ma.states {
		for _, slot := range log.Pending() {
			log.Commit(slot, keep[name])
		}
	}
	for _, r := range st.rows {
		st.ma.next[r.Slot] = r.Position + 1
	}
}

// parallel splits [0,n) over the processors. Ranges are disjoint and every
// result depends on its own index only, so the split does not show in results.
func parallel(n int, body func(lo, hi int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 || n < 16 {
		if n > 0 {
			body(0, n)
		}
		return
	}
	var wg sync.WaitGroup
	var failed atomic.Pointer[tensor.Unreadable]
	for w := range workers {
		lo, hi := w*n/workers, (w+1)*n/workers
		wg.Go(func() {
			defer func() {
				if u := unreadable(recover()); u != nil {
					failed.Store(u)
				}
			}()
			body(lo, hi)
		})
	}
	wg.Wait()
	if u := failed.Load(); u != nil {
		panic(u) // in the goroutine that execute recovers in
	}
}

// unreadable is a recovered panic that is a parameter's; others go on.
func unreadable(recovered any) *tensor.Unreadable {
	if recovered == nil {
		return nil
	}
	u, ok := recovered.(*tensor.Unreadable)
	if !ok {
		panic(recovered)
	}
	return u
}
