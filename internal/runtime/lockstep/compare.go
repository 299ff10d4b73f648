package lockstep

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/ir/tensor"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/ops"
)

// Logits bounds the difference of logits where both sides made the same choices:
// activations and sums are float32 on both, in another order, through all layers.
const Logits = 5e-4

// Bound bounds the difference of a kernel's numbers, as a share of the largest of their
// row. Healthy devices stay below 1e-5.
const Bound = 1e-4

// codes is the share of rounded numbers that may come out as a neighbour of what
// is expected. That happens where a number lies next to the middle of two, which
// are 2^-8 apart or more: to one in a thousand, as measured.
const codes = 0.01

// limit is Bound, or what differences add up to over a step.
func (p *Pair) limit() float64 {
	if p.follow == Choices {
		return Logits
	}
	return Bound
}

// words are the 32-bit numbers of a buffer.
func words(data []byte) []uint32 {
	out := make([]uint32, len(data)/4)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	return out
}

// compare judges a value that a kernel wrote, and gives what to go on with.
func (p *Pair) compare(k *Kernel, n *ir.Node, v tensor.Value[float32], got []uint32) tensor.Value[float32] {
	if n.Result.Type.Elem == ir.I32 {
		ids := make([]int32, len(got))
		for i, w := range got {
			ids[i] = int32(w)
		}
		return p.compareIDs(k, n.Result, v, ids)
	}
	reals := make([]float32, len(got))
	for i, w := range got {
		reals[i] = math.Float32frombits(w)
	}
	return p.compareReals(k, n, v, reals, p.lost[n.Result.Ref()])
}

// judged reports whether a node's result is compared: all are, or choices only.
func (p *Pair) judged(n *ir.Node) bool {
	return p.follow == Values || n.Op == ops.RoundTo || n.Result.Type.Elem == ir.I32
}

// compareReals judges real numbers: by Bound, or, where they are rounded to fewer
// bits, by the distance of neighbours in the format. Both sides go on with what the
// device has; lost are the numbers that were not finite.
func (p *Pair) compareReals(k *Kernel, n *ir.Node, v tensor.Value[float32], got []float32, nonfinite map[int]float32) tensor.Value[float32] {
	width := v.Shape[len(v.Shape)-1]
	steps := roundings(n, width)
	k.Values += len(got)
	at := make([]float32, width)
	for row := 0; row < len(got); row += width {
		copy(at, got[row:row+width])
		for i := range at {
			if x, is := nonfinite[row+i]; is {
				at[i] = x
			}
		}
		p.compareRow(k, n.Result, row/width, v.F[row:row+width], at, steps)
	}
	v.F = got
	return v
}

// nonFinite is replaceLost for numbers.
func nonFinite(x []float32) (nonfinite map[int]float32) {
	for i, v := range x {
		if v-v == 0 {
			continue
		}
		if nonfinite == nil {
			nonfinite = map[int]float32{}
		}
		nonfinite[i], x[i] = v, 0
	}
	return nonfinite
}

// compareRow judges a row. steps has, for each element, the largest distance of
// neighbours in its format as a share of the row's largest; it is nil where
// nothing was rounded.
func (p *Pair) compareRow(k *Kernel, v *ir.Value, row int, want, got []float32, steps []float64) {
	largest := 0.0
	for _, w := range want {
		if a := math.Abs(float64(w)); a <= math.MaxFloat32 { // and not NaN
			largest = max(largest, a)
		}
	}
	for i, w := range want {
		d := difference(w, got[i], largest)
		limit := p.limit()
		if steps != nil && steps[i] > 0 {
			limit = steps[i]
			k.Codes++
			if d != 0 {
				k.CodesTurned++
			}
		} else {
			k.Difference = Worse(k.Difference, d)
		}
		if d < 0 || d > limit {
			p.wrong(k, "%s[row %d, element %d] is %v, expected %v", v.Ref(), row, i, got[i], w)
		}
	}
}

// difference is that of two numbers as a share of the largest of their row; -1
// where only one is finite, or they are different infinities.
func difference(want, got float32, largest float64) float64 {
	w, g := float64(want), float64(got)
	switch {
	case w == g || math.IsNaN(w) && math.IsNaN(g):
		return 0
	case math.IsNaN(w-g) || math.IsInf(w-g, 0):
		return -1
	case largest == 0:
		return math.Inf(1) // zeros were expected
	}
	return math.Abs(w-g) / largest
}

// Worse is the larger of two differences, of which -1 is the worst.
func Worse(a, b float64) float64 {
	if a < 0 || b < 0 {
		return -1
	}
	return max(a, b)
}

// place names a step.
func (p *Pair) place() string {
	return fmt.Sprintf("%s step from token %d of slot %d on", p.phase, p.rows[0].Position, p.rows[0].Slot)
}

// formatSteps are the largest distances of neighbours, as a share of the largest
// number of a block: bf16 has 8 bits; e4m3 4 in its highest binade; e2m1's largest
// are 4 and 6, and 2 and 3 where the scale is the next.
var formatSteps = map[string]float64{"bf16": 1.0 / 128, "e4m3": 1.0 / 8, "e2m1": 0.5}

// roundings says by how much rounding can part elements of a row; nil if the value
// is not rounded.
func roundings(n *ir.Node, width int) []float64 {
	if n.Op != ops.RoundTo {
		return nil
	}
	steps := make([]float64, width)
	for n != nil && n.Op == ops.RoundTo {
		a := n.Attr.(ops.RoundAttr)
		for i := a.From; i < a.From+a.Count; i++ {
			steps[i] = max(steps[i], formatSteps[a.Format])
		}
		n = n.Args[0].Def
	}
	return steps
}

// cacheRows reads what the device appended to a cache in this step, decoded: a row
// for each of the step's rows, or for each that closes a block. Of those that the device
// shows nowhere, which are `hidden` numbers, the evaluator's own.
func (p *Pair) cacheRows(c *plan.Cache, v *ir.Value, own []float32) (out []float32, hidden int, err error) {
	ratio := p.ratio(v)
	for _, r := range p.rows {
		if (int64(r.Position)+1)%ratio != 0 {
			continue
		}
		data, err := p.cacheRow(c, r.Slot, int(int64(r.Position)/ratio))
		if err != nil {
			return nil, 0, err
		}
		row := make([]float32, c.Row.Width)
		if data != nil {
			encoding.DecodeRow(c.Row, row, data)
		} else if len(out) < len(own) {
			hidden += copy(row, own[len(out):])
		}
		out = append(out, row...)
	}
	if len(out) != len(own) {
		return nil, 0, fmt.Errorf("state @%s: %d elements appended, the evaluator appends %d", c.State.Name, len(out), len(own))
	}
	return out, hidden, nil
}

// cacheRow is the row that a slot has at an index after the step: of a ring's area where
// the step has one, else of the cache itself. A device that shows no areas has in the
// slot the rows that were kept; of others the row is nil.
func (p *Pair) cacheRow(c *plan.Cache, slot int32, index int) ([]byte, error) {
	area := p.steps[p.phase].areas[c]
	if area == nil {
		return p.dev.CacheRow(c, slot, index%c.Capacity)
	}
	data, shown := p.seen[area.Name]
	switch {
	case !shown && len(p.seen) > 0:
		return nil, fmt.Errorf("the device shows what kernels wrote, but not the area %s", area.Name)
	case !shown:
		if index < p.firstKept(c) {
			return nil, nil
		}
		return p.dev.CacheRow(c, slot, index%c.Capacity)
	}
	n := area.Area.Row.Bytes
	if len(data) != area.Area.Capacity*n {
		return nil, fmt.Errorf("the device shows %d bytes of the area %s, which has %d", len(data), area.Name, area.Area.Capacity*n)
	}
	return data[index%area.Area.Capacity*n:][:n], nil
}

// compareKept judges what a prefill step left in the slot's rings: to the bit the rows of
// the areas that the next token may look back to.
func (p *Pair) compareKept() error {
	w, last := p.steps[p.phase], p.rows[len(p.rows)-1]
	for _, c := range p.Plan().Caches {
		area, k := w.areas[c], w.kept[c]
		if area == nil || k == nil {
			continue // no ring, or one that no reader looks back in
		}
		if _, shown := p.seen[area.Name]; !shown {
			continue // cacheRow has asked for it
		}
		for index := p.firstKept(c); index <= int(last.Position); index++ {
			want, err := p.cacheRow(c, last.Slot, index)
			if err != nil {
				return err
			}
			got, err := p.dev.CacheRow(c, last.Slot, index%c.Capacity)
			if err != nil {
				return err
			}
			k.Values += len(got) / 4
			if !bytes.Equal(got, want) {
				p.wrong(k, "row %d of slot %d of %s is not what the step left in its area", index, last.Slot, area.Name)
			}
		}
	}
	return nil
}

// firstKept is the first row of a ring that the token after the step may look back to.
func (p *Pair) firstKept(c *plan.Cache) int {
	keep, _ := c.State.Keep.Value()
	return max(0, int(p.rows[len(p.rows)-1].Position)+2-int(keep))
}

// ratio is how many of a sequence's rows one of a value's stands for.
func (p *Pair) ratio(v *ir.Value) int64 {
	symbol, _ := v.Type.Shape[0].Symbol()
	for _, s := range p.dev.Bundle().Module.Symbols {
		if s.Name == symbol && s.Def == ir.Closing {
			return s.Arg
		}
	}
	return 1
}
