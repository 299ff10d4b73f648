package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/codegen/kernel"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/internal/ir/encoding"
)

// writeExplanation prints what was chosen and why: by the passes, for this
// machine's GPU, for each region, in each kernel, and for how each parameter is
// read.
func writeExplanation(io stdio, w io.Writer, b *bundle.Bundle, st style) error {
	p := page{w: w, st: st}
	p.printf("%s  %s\n", st.bold("What was chosen"), b.Dir)
	p.list("Passes", b.Notes)
	p.gpu(examineGPU(io, b))
	p.regions(b)
	p.settings(b.Plan)
	p.readings(b)
	return p.err
}

// regions lists the kernels that each region got.
func (p *page) regions(b *bundle.Bundle) {
	p.heading("Regions")
	t := table{columns: []column{{"region", false}, {"kind", false}}}
	kernels := make([]map[string][]string, len(b.Plan.Steps)) // by region
	for i, s := range b.Plan.Steps {
		t.columns = append(t.columns, column{s.Phase.String() + " kernels", false})
		kernels[i] = map[string][]string{}
		for _, d := range s.Dispatches {
			kernels[i][d.Region] = append(kernels[i][d.Region], d.Kernel.Name)
		}
	}
	for _, r := range b.Module.Regions {
		cells := []string{r.Name, r.Kind}
		for _, of := range kernels {
			cells = append(cells, strings.Join(of[r.Name], ", "))
		}
		t.add(cells...)
	}
	p.table(&t)
}

// settings lists what each kernel's schedule chose, with the reasons.
func (p *page) settings(pl *plan.Plan) {
	p.heading("Kernels")
	for _, k := range pl.Kernels {
		p.printf("  %s  %d threads, SIMD groups of %d, %s bytes of threadgroup memory\n", p.st.bold(k.Name), k.Schedule.Threads, k.Schedule.SimdWidth, grouped(k.SharedBytes()))
		t := table{columns: make([]column, 3)}
		for _, s := range k.Schedule.Settings {
			t.add(s.Name, s.Value, s.Why)
		}
		if p.err == nil {
			p.err = t.write(p.w, "    ", p.st)
		}
	}
}

// readings lists the parameters with the ways kernels read their planes.
func (p *page) readings(b *bundle.Bundle) {
	p.heading("Parameters")
	ways := waysRead(b)
	t := table{columns: []column{{"parameter", false}, {"encoding", false}, {"pieces", true}, {"skew", true}, {"weight read as", false}, {"scales", false}, {"biases", false}}}
	for _, declared := range b.Module.Params {
		q := b.Params[declared.Name]
		if q == nil {
			continue // canonicalised away: no kernel reads it
		}
		enc := string(q.Integer)
		if q.Encoding != nil {
			enc = q.Encoding.Name()
		}
		cells := []string{q.Name, enc, grouped(len(q.Pieces)), skewOf(q)}
		for _, plane := range []string{"weight", "scales", "biases"} {
			cells = append(cells, strings.Join(ways[[2]string{q.Name, plane}], "; "))
		}
		t.add(cells...)
	}
	p.table(&t)
}

// skewOf is where the weights begin, modulo 16.
func skewOf(q *storage.Parameter) string {
	first := q.Pieces[0].Weight.Skew()
	for _, pc := range q.Pieces {
		if pc.Weight.Skew() != first {
			return "mixed"
		}
	}
	return fmt.Sprint(first)
}

// waysRead says for each parameter and plane how kernels read it, each way
// once.
func waysRead(b *bundle.Bundle) map[[2]string][]string {
	ways := map[[2]string][]string{}
	for _, s := range b.Plan.Steps {
		for _, d := range s.Dispatches {
			for i, a := range d.Args {
				if a.Weight == nil || a.Weight.Table {
					continue
				}
				at := [2]string{a.Weight.Param, a.Weight.Role.String()}
				if way := wayRead(b.Params[a.Weight.Param], d.Args, i); !slices.Contains(ways[at], way) {
					ways[at] = append(ways[at], way)
				}
			}
		}
	}
	return ways
}

// wayRead is how a dispatch reads the plane that its argument i is: in elements
// of its memory type, aligned, shifted into place by the scalar behind it or by
// a table of pieces, or put together of bytes.
func wayRead(q *storage.Parameter, args []plan.Arg, i int) string {
	a := args[i]
	elem, bytes := a.Param.Elem.String(), a.Param.Elem.Scalar == kernel.U8
	pieces := slices.ContainsFunc(args, func(o plan.Arg) bool {
		return o.Weight != nil && o.Weight.Table && o.Weight.Param == a.Weight.Param && o.Weight.Role == a.Weight.Role
	})
	switch {
	case pieces && bytes:
		return elem + " in pieces"
	case pieces:
		return elem + " in pieces, each shifted by its own"
	case i+1 < len(args) && args[i+1].Scalar != nil:
		return fmt.Sprintf("%s shifted by %d bits", elem, *args[i+1].Scalar)
	case bytes && elementBytes(q, a.Weight.Role) > 1:
		return elem + " put together"
	}
	return elem + " aligned"
}

// elementBytes is the size of a stored element of a plane, 0 if it has none.
func elementBytes(q *storage.Parameter, r encoding.Role) int {
	if q.Encoding == nil {
		n, _ := q.Integer.Size()
		return n
	}
	planes, err := q.Encoding.Planes(q.Rows, q.Cols)
	if err != nil {
		return 0 // Compile has refused it
	}
	for _, p := range planes {
		if p.Role == r {
			return p.ElementBytes()
		}
	}
	return 0
}
