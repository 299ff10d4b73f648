package bundle

import (
	"slices"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/ir"
)

// encodePlan puts a plan into the document's terms.
func encodePlan(d *document, p *plan.Plan, symbols []ir.Symbol) {
	for _, s := range symbols {
		d.Symbols = append(d.Symbols, symbolDoc{s.Name, s.Def.String(), s.Arg})
	}
	for _, k := range p.Kernels {
		d.Kernels = append(d.Kernels, k.Name)
	}
	caches := map[*plan.Cache]int{}
	for i, c := range p.Caches {
		caches[c] = i
		d.Caches = append(d.Caches, cacheDoc{
			State: c.State.Name, Stored: c.Row.Format.Name(), Width: c.Row.Width, RowBytes: c.Row.Bytes,
			Capacity: c.Capacity, Ring: c.Ring, Slots: c.Slots, Offset: c.Offset, Bytes: c.Bytes,
		})
	}
	for _, s := range p.Steps {
		d.Steps = append(d.Steps, encodeStep(s, caches))
	}
}

func encodeStep(s *plan.Step, caches map[*plan.Cache]int) stepDoc {
	d := stepDoc{Kind: s.Phase.String(), MaxRows: s.MaxRows, Closing: s.Params.Closing, ArenaBytes: s.ArenaBytes, Limits: s.Limits}
	for _, r := range s.Params.Ropes {
		d.Ropes = append(d.Ropes, ropeDoc{r.Ratio, r.Attr.Dims, r.Attr.Theta, r.Attr.Factor, r.Attr.Original, r.Attr.BetaFast, r.Attr.BetaSlow})
	}
	for _, b := range s.Buffers {
		d.Buffers = append(d.Buffers, bufferDoc{b.Name, b.Bytes.String(), b.Size, b.Offset, b.First, b.Last, b.Scratch, b.Held})
	}
	for _, r := range s.Results {
		d.Results = append(d.Results, slices.Index(s.Buffers, r))
	}
	places := map[*plan.Buffer]int{}
	for i, b := range s.Buffers {
		places[b] = i
	}
	place := func(b *plan.Buffer) *int {
		if b == nil {
			return nil
		}
		at := places[b]
		return &at
	}
	d.Tokens, d.Scores = place(s.Tokens), place(s.Scores)
	d.Picks, d.Scoring = s.Picks(), s.Scoring()
	for _, x := range s.Dispatches {
		e := dispatchDoc{Kernel: x.Kernel.Name, Region: x.Region, Role: x.Role, Level: x.Level, Barrier: x.Barrier, CommandBuffer: x.CommandBuffer}
		for i, g := range x.Grid {
			e.Grid[i] = g.String()
		}
		for _, a := range x.Args {
			e.Args = append(e.Args, encodeArg(a, places, caches))
		}
		d.Dispatches = append(d.Dispatches, e)
	}
	return d
}

func encodeArg(a plan.Arg, buffers map[*plan.Buffer]int, caches map[*plan.Cache]int) argDoc {
	d := argDoc{Scalar: a.Scalar, Needs: a.BytesAccessed.String()}
	switch {
	case a.Buffer != nil:
		i := buffers[a.Buffer]
		d.Buffer = &i
	case a.Cache != nil:
		i := caches[a.Cache]
		d.Cache = &i
	case a.Weight != nil:
		d.Weight = &weightDoc{a.Weight.Param, a.Weight.Role.String(), a.Weight.Align, a.Weight.Table, a.Weight.Start, a.Weight.Stride}
	}
	return d
}

// encodeParams lists the parameters in the graph's order.
func encodeParams(order []*ir.Param, ps storage.Parameters) []paramDoc {
	var out []paramDoc
	for _, declared := range order {
		p := ps[declared.Name]
		if p == nil {
			continue
		}
		d := paramDoc{Name: p.Name, Rows: p.Rows, Cols: p.Cols, Integer: string(p.Integer), Columns: [2]int{p.Columns.First, p.Columns.Stored}}
		if p.Lead > 1 {
			d.Lead = p.Lead
		}
		if p.Encoding != nil {
			d.Encoding = p.Encoding.Name()
		}
		for _, pc := range p.Pieces {
			d.Pieces = append(d.Pieces, pieceDoc{pc.First, pc.Rows, pc.StoredFirst, triple(pc.Weight), optional(pc.Scales), optional(pc.Biases)})
		}
		out = append(out, d)
	}
	return out
}

func triple(e storage.Extent) [3]int64 { return [3]int64{int64(e.File), e.Offset, e.Bytes} }

func optional(e storage.Extent) *[3]int64 {
	if e.Bytes == 0 {
		return nil
	}
	t := triple(e)
	return &t
}
