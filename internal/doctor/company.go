package doctor

import (
	"context"
	"fmt"
	"math"
	"slices"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/runtime/device"
	"smelt.example/smelt/internal/runtime/profile"
	"smelt.example/smelt/ir"
)

// companies are the numbers of rows that are run together: at each of them another
// kernel may take over, and what a row gets must not change by a bit.
var companies = []int{1, 2, 4, 5, program.MaxDecodeRows}

// compared is how many texts are looked at, of those that run together.
const compared = 5

// company runs texts alone, each in a slot, and then together with others, as many rows
// as companies has, in other slots and orders: their prompts and two steps of one token
// each. Every step's logits must be those that the text has alone, bit for bit; those of
// the last also tell of what the one before it left in caches.
func (c *check) company(ctx context.Context, dev device.Planned) error {
	if t, ok := dev.(device.Profiled); ok {
		if err := t.Profile(profile.Off); err != nil {
			return err
		}
	}
	p := dev.Bundle().Plan
	looked := min(compared, p.Slots, p.Wanted)
	if p.Context < companyTokens+2 || p.Chunk < companyTokens {
		return nil
	}
	alone := make([][]float32, looked)
	for i := range alone {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if alone[i], err = together(dev, []guest{{text: i, slot: int32(i)}}, 1); err != nil {
			return err
		}
	}
	for _, n := range companies {
		if n > p.Slots {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		looked := min(looked, n)
		got, err := together(dev, guests(p, n), looked)
		if err != nil {
			return err
		}
		c.Company = append(c.Company, n)
		c.compareCompany(dev.Vocab(), n, got, alone[:looked])
	}
	return nil
}

// compareCompany notes texts that have other logits among n rows than alone.
func (c *check) compareCompany(vocab, n int, got []float32, alone [][]float32) {
	steps := []string{"the prompts", "a decode step", "the decode step after it"}
	for s, step := range steps {
		var other []int
		for i, own := range alone {
			at := (s*len(alone) + i) * vocab
			if !sameBits(got[at:at+vocab], own[s*vocab:(s+1)*vocab]) {
				other = append(other, i)
			}
		}
		if len(other) > 0 {
			c.Errors = append(c.Errors, fmt.Sprintf("%d texts side by side: in %s %d of %d have other logits than alone", n, step, len(other), len(alone)))
			return // what follows comes of it
		}
	}
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// guest is a text in a slot.
type guest struct {
	text int
	slot int32
}

// guests are the first n texts, in slots that differ from one n to the next.
func guests(p *plan.Plan, n int) (all []guest) {
	for i := range n {
		all = append(all, guest{i, int32((i + n) % p.Slots)})
	}
	return all
}

// companyTokens is how long a prompt is at most.
const companyTokens = 7

// together runs guests' prompts one after the other and then two steps of a token of each,
// the last guest's row first, and returns the logits of the first `looked`, step after
// step. The slots are empty before and after.
func together(dev device.Planned, all []guest, looked int) (logits []float32, err error) {
	for _, g := range all {
		dev.Reset(g.slot)
		defer dev.Reset(g.slot)
	}
	token := func(g guest, at int) ir.Row {
		return ir.Row{Token: int32((31*g.text + 7*at + 3) % dev.Vocab()), Position: int32(at), Slot: g.slot}
	}
	length := func(g guest) int { return companyTokens - g.text%compared }
	for i, g := range all {
		var rows []ir.Row
		for at := range length(g) {
			rows = append(rows, token(g, at))
		}
		out, err := dev.Prefill(rows, []int{len(rows) - 1})
		if err != nil {
			return nil, err
		}
		if i < looked {
			logits = append(logits, out...)
		}
	}
	for step := range 2 {
		var rows []ir.Row
		wanted := make([]int, looked)
		for i := len(all) - 1; i >= 0; i-- {
			if i < looked {
				wanted[i] = len(rows)
			}
			rows = append(rows, token(all[i], length(all[i])+step))
		}
		out, err := dev.Decode(rows, wanted)
		if err != nil {
			return nil, err
		}
		logits = append(logits, out...)
	}
	return logits, nil
}
