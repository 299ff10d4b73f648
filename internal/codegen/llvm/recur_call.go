package llvm

import (
	"fmt"
	"strings"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"smelt.example/smelt/internal/codegen/kernel"
)

// handed is something that a recurring loop takes from around it.
type handed struct {
	form    string // of values; where forms differ so do functions
	values  []value.Value
	noAlias bool // pointers to what nothing else points to
	// take declares it, from parameters, in the function that g prints.
	// back, if there is any, hands back what has become of it.
	take func(g *function, params []value.Value) (back func())
}

// callRecurring makes a loop a call if it stands in the kernel more than once, and
// says whether it did.
func (f *function) callRecurring(s *kernel.For) bool {
	o := f.recurring[s]
	if o == nil || f.mask != nil {
		return false
	}
	all := []handed{f.handGroup()}
	for kind := kernel.LocalName; kind <= kernel.FieldName; kind++ {
		for n, name := range o.names[kind] {
			as := nameOf(kind, n)
			if o.inside[as] {
				continue
			}
			h, ok := f.hand(o, kind, name, as)
			if !ok {
				return false
			}
			all = append(all, h)
		}
	}
	var form strings.Builder
	var actual []value.Value
	for _, h := range all {
		form.WriteString(h.form + ";")
		actual = append(actual, h.values...)
	}
	fn := o.made[form.String()]
	if fn == nil {
		fn = f.defineRecurring(o.recurring, all)
		o.made[form.String()] = fn
	}
	f.block.NewCall(fn, actual...)
	return true
}

// defineRecurring writes a loop's function, with a parameter for each thing handed over.
func (f *function) defineRecurring(r *recurring, all []handed) *ir.Func {
	g := functionOf(r.k, f.machine, r.uniform, r.inPlace)
	g.module, g.declared = f.module, f.declared
	var params []*ir.Param
	for _, h := range all {
		for _, v := range h.values {
			p := ir.NewParam(fmt.Sprint("p", len(params)), v.Type())
			if h.noAlias {
				p.Attrs = append(p.Attrs, enum.ParamAttrNoAlias)
			}
			params = append(params, p)
		}
	}
	g.fn = g.module.NewFunc(fmt.Sprintf("%s.loop%d", r.k.Name, len(g.module.Funcs)), types.Void, params...)
	g.fn.Linkage = enum.LinkageInternal
	g.fn.FuncAttrs = append(g.fn.FuncAttrs, attributes...)
	g.entry, g.block = g.fn.NewBlock("entry"), g.fn.NewBlock("start")
	start := g.block
	var backs []func()
	for _, h := range all {
		var own []value.Value
		for _, p := range params[:len(h.values)] {
			own = append(own, p)
		}
		params = params[len(h.values):]
		if back := h.take(g, own); back != nil {
			backs = append(backs, back)
		}
	}
	g.run(r.k.Body)
	for _, back := range backs {
		back()
	}
	g.block.NewRet(nil)
	g.entry.NewBr(start)
	if f.err == nil {
		f.err = g.err
	}
	return g.fn
}

func (f *function) handGroup() handed {
	return handed{values: f.group[:], take: func(g *function, params []value.Value) func() {
		copy(g.group[:], params)
		return nil
	}}
}

// hand hands over what a name stands for, if its form allows that.
func (f *function) hand(o *occurrence, kind kernel.NameKind, name, as string) (handed, bool) {
	switch kind {
	case kernel.LocalName:
		if v := f.vars[name]; v != nil {
			return handVariable(v, as), v.mask == nil
		}
		return f.handLocal(f.locals[name], as, o.bounds[as])
	case kernel.FragmentName:
		return handFragment(f.fragments[name], as), true
	case kernel.ScalarName:
		return handed{values: []value.Value{f.scalars[name]}, take: func(g *function, params []value.Value) func() {
			g.scalars[as] = params[0]
			return nil
		}}, true
	}
	space := map[kernel.NameKind]kernel.Space{kernel.PointerName: kernel.Device, kernel.SharedName: kernel.Threadgroup, kernel.FieldName: kernel.StepBlock}[kind]
	return handed{values: []value.Value{f.pointer(place{space, name})}, noAlias: true, take: func(g *function, params []value.Value) func() {
		g.places[place{space, as}] = params[0]
		return nil
	}}, true
}

// handLocal hands over a value, which may be a bound of loops.
func (f *function) handLocal(o operand, as string, bound bool) (handed, bool) {
	h := handed{}
	known := func(take func(params []value.Value) operand) (handed, bool) {
		h.take = func(g *function, params []value.Value) func() {
			g.locals[as] = take(params)
			return nil
		}
		return h, true
	}
	switch {
	case o.lanes != nil:
		return h, false
	case o.index != nil:
		// Lanes that count on from different numbers are alike.
		first := &index{o.index.base, o.index.multiple, o.index.offsets[:1]}
		from := each(o.index.offsets, func(n int64) int64 { return n - first.offsets[0] })
		multiple := int64(1)
		if bound {
			multiple = gcd(gcd(first.multiple, first.offsets[0]), int64(f.width))
		}
		h.values, h.form = []value.Value{f.asScalar(operand{typ: o.typ, index: first})}, fmt.Sprint(multiple, from)
		return known(func(params []value.Value) operand { return indexOf(o.typ, params[0], multiple, from) })
	case o.scalar != nil:
		h.values = []value.Value{o.scalar}
		return known(func(params []value.Value) operand { return scalarOperand(o.typ, params[0]) })
	case o.vector != nil:
		h.values, h.form = []value.Value{o.vector}, "vector"
		return known(func(params []value.Value) operand { return vectorOperand(o.typ, params[0]) })
	}
	h.values, h.form = o.elements, "elements"
	return known(func(params []value.Value) operand { return elementsOperand(o.typ, params) })
}

// handVariable hands over a variable by where it lies: the function works on a copy.
func handVariable(v *variable, as string) handed {
	form := fmt.Sprint(v.typ, v.one, len(v.at))
	return handCopy(form, v.at, func(g *function, at []*ir.InstAlloca) { g.vars[as] = &variable{typ: v.typ, at: at, one: v.one} })
}

// handFragment hands over a matrix: its rows, unless it is read when it is used.
func handFragment(m *fragment, as string) handed {
	form := fmt.Sprint(m.Elem, m.Rows, m.Columns, len(m.rows))
	return handCopy(form, m.rows, func(g *function, at []*ir.InstAlloca) { g.fragments[as] = &fragment{Fragment: m.Fragment, rows: at} })
}

// handCopy hands over variables. The function has copies of them, which LLVM turns into
// registers.
func handCopy(form string, variables []*ir.InstAlloca, known func(g *function, at []*ir.InstAlloca)) handed {
	h := handed{form: form, noAlias: true}
	for _, at := range variables {
		h.values = append(h.values, at)
	}
	h.take = func(g *function, params []value.Value) func() {
		var own []*ir.InstAlloca
		for n, at := range variables {
			own = append(own, g.entry.NewAlloca(at.ElemType))
			g.block.NewStore(g.block.NewLoad(at.ElemType, params[n]), own[n])
		}
		known(g, own)
		return func() {
			for n, at := range own {
				g.block.NewStore(g.block.NewLoad(at.ElemType, at), params[n])
			}
		}
	}
	return h
}
