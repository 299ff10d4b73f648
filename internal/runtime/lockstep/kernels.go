package lockstep

import (
	"fmt"
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/stepblock"
	"smelt.example/smelt/ir"
)

// Kernel holds the findings on a kernel in all steps so far.
type Kernel struct {
	Name string
	// Ran: a step had threadgroups of it.
	Ran bool
	// Values counts the numbers it wrote that were compared, ids among them.
	Values int
	// Difference is the largest of a real number, as a share of the largest of its
	// row; -1 if one is no finite number where the other is.
	Difference float64
	// Ids and Codes are choices: experts, entries and tokens, and numbers rounded
	// to fewer bits. Of them IdsTurned and CodesTurned came out the other way
	// because what they were made from was added up in another order.
	Ids, IdsTurned     int
	Codes, CodesTurned int
	// Wrong describes the first value that is; "" if none. Trouble says more. Order
	// counts the kernels found wrong, this one among them, when it was.
	Wrong string
	Order int
	// Through are the kernels whose values show whether what this one leaves in
	// memory of its region is right.
	Through []string
}

// Trouble says what is wrong; "" if nothing is. A few codes may turn in any lot,
// however small it is.
func (k *Kernel) Trouble() string {
	if k.Wrong == "" && float64(k.CodesTurned) > 2+codes*float64(k.Codes) {
		return fmt.Sprintf("of %d rounded numbers %d are neighbours of what was expected; rounding does that to %g %% at most", k.Codes, k.CodesTurned, 100*codes)
	}
	return k.Wrong
}

// wrong notes the first wrong value of a kernel.
func (p *Pair) wrong(k *Kernel, format string, args ...any) {
	if k.Wrong == "" {
		p.faults++
		k.Order, k.Wrong = p.faults, p.place()+": "+fmt.Sprintf(format, args...)
	}
}

// Kernels lists all kernels of the bundle, in its order.
func (p *Pair) Kernels() []*Kernel {
	var list []*Kernel
	for _, k := range p.dev.Bundle().Plan.Kernels {
		list = append(list, p.kernel(k.Name))
	}
	return list
}

// Clear forgets what was found so far.
func (p *Pair) Clear() {
	p.faults = 0
	for _, k := range p.kernels {
		*k = Kernel{Name: k.Name, Through: k.Through}
	}
}

func (p *Pair) kernel(name string) *Kernel {
	if p.kernels[name] == nil {
		p.kernels[name] = &Kernel{Name: name}
	}
	return p.kernels[name]
}

// writers are the kernels of a kind of step, by what they write.
type writers struct {
	step   *plan.Step
	all    []*Kernel // by dispatch
	values map[string]*Kernel
	caches map[*plan.Cache]*Kernel
	areas  map[*plan.Cache]*plan.Buffer // of the rings that the step works with there
	kept   map[*plan.Cache]*Kernel      // by what copies rows from areas into slots
	rings  map[*ir.State]*plan.Cache
	tokens *Kernel // nil if nothing picks tokens
	scores *Kernel // nil if nothing scores them
	filler *stepblock.Filler
	block  []byte
}

func (p *Pair) writersOf(s *plan.Step) *writers {
	w := &writers{step: s, values: map[string]*Kernel{}, caches: map[*plan.Cache]*Kernel{}, areas: map[*plan.Cache]*plan.Buffer{},
		kept: map[*plan.Cache]*Kernel{}, filler: stepblock.New(s.Params)}
	w.block = make([]byte, w.filler.Bytes())
	w.rings = map[*ir.State]*plan.Cache{}
	for _, c := range p.Plan().Caches {
		w.rings[c.State] = c
	}
	for i, x := range s.Dispatches {
		w.all = append(w.all, p.kernel(x.Kernel.Name))
		for _, a := range x.Args {
			if b := a.Buffer; a.Param.Access != kernel.Read && b != nil && b.Scratch && b != s.Tokens && b != s.Scores && (b.Area == nil || x.Region == program.RingsRegion) {
				w.all[i].through(s.Dispatches[i+1:], b)
			}
		}
		w.writes(i)
	}
	return w
}

// writes notes that what a dispatch writes is its kernel's.
func (w *writers) writes(i int) {
	x, k := w.step.Dispatches[i], w.all[i]
	for _, a := range x.Args {
		if a.Param.Access == kernel.Read {
			continue
		}
		switch {
		case a.Cache != nil && x.Region == program.RingsRegion:
			w.kept[a.Cache] = k
		case a.Cache != nil:
			w.caches[a.Cache] = k
		case a.Buffer == nil:
		case a.Buffer.Area != nil && x.Region != program.RingsRegion:
			c := w.rings[a.Buffer.Area.State]
			w.areas[c], w.caches[c] = a.Buffer, k
		case a.Buffer == w.step.Tokens:
			w.tokens = k
		case a.Buffer == w.step.Scores:
			w.scores = k
		case !a.Buffer.Scratch:
			w.values[a.Buffer.Name] = k
		}
	}
}

// through notes which of the dispatches that follow read a region's memory.
func (k *Kernel) through(after []*plan.Dispatch, b *plan.Buffer) {
	for _, x := range after {
		for _, a := range x.Args {
			if a.Buffer == b && a.Param.Access == kernel.Read && !slices.Contains(k.Through, x.Kernel.Name) {
				k.Through = append(k.Through, x.Kernel.Name)
			}
		}
	}
}

// mark notes which kernels have threadgroups in a step, and behind it: of two that write
// the same, the one that does is asked about it.
func (w *writers) mark(a Step) error {
	if err := w.filler.Fill(w.block, a.Rows, a.Wanted, a.Choices); err != nil {
		return err
	}
	if len(a.Asks) > 0 {
		if err := w.filler.Score(w.block, 0, a.Asks); err != nil {
			return err
		}
	}
	for i, x := range w.step.Dispatches {
		groups := int64(1)
		for _, g := range x.Grid {
			n, err := g.Eval(w.filler.Symbol)
			if err != nil {
				return fmt.Errorf("kernel %s of region @%s: %w", x.Kernel.Name, x.Region, err)
			}
			groups *= n
		}
		if groups > 0 {
			w.all[i].Ran = true
			w.writes(i)
		}
	}
	return nil
}
