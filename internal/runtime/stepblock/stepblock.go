// Package stepblock fills the block of step parameters: all that a run
// rewrites before a step. Devices share it, so that kernels read the same
// numbers on every one.
package stepblock

import (
	"encoding/binary"
	"fmt"
	"math"

	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/ir/num"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/ir"
	"smelt.example/smelt/runtime/sampling"
)

// Filler writes blocks of one layout. It allocates nothing after New.
type Filler struct {
	step    *program.Step
	offsets map[string]int
	freqs   [][]float64
	closing map[int][]int32 // rows that close a block, by ratio
	symbols map[string]int64
	masks   []*pick.Mask // of the step's rows, each once; nil allows all
	all     *pick.Mask   // what nil is written as
	used    []Span       // of the block that was filled last
	wanted  int          // rows of it
	ropes   []string     // names of the fields, made once
	ends    []string
}

// Span is a part of a block: the bytes from one on and before another.
type Span struct{ From, To int }

// New prepares a filler.
func New(s *program.Step) *Filler {
	f := &Filler{step: s, offsets: map[string]int{}, closing: map[int][]int32{}, symbols: map[string]int64{}}
	for _, field := range s.Layout.Fields {
		f.offsets[field.Name] = s.Layout.Offset(field.Name)
	}
	for i, r := range s.Ropes {
		f.freqs = append(f.freqs, r.Attr.Frequencies())
		f.ropes = append(f.ropes, program.RopeTable(i))
	}
	for _, r := range s.Closing {
		f.closing[r] = make([]int32, 0, s.MaxRows)
		f.ends = append(f.ends, program.ClosingField(r))
	}
	if s.Vocab > 0 {
		f.all = pick.NewMaskOfAll(s.Vocab)
	}
	return f
}

// Bytes is the size of a block.
func (f *Filler) Bytes() int { return f.step.Layout.Bytes() }

// Fill writes the parameters of a step over rows, of which the wanted ones'
// results are asked for, to block, which has Bytes bytes. Tokens are picked by
// choices, one for each wanted row; nil if only results are asked for. Elements
// of arrays beyond the rows are left as they are.
func (f *Filler) Fill(block []byte, rows []ir.Row, wanted []int, choices []sampling.Choice) error {
	if len(block) != f.Bytes() {
		return fmt.Errorf("the step block has %d bytes, expected %d", len(block), f.Bytes())
	}
	if len(rows) < 1 || len(rows) > f.step.MaxRows || len(wanted) > f.step.MaxRows {
		return fmt.Errorf("a step of %d rows, %d of them wanted; expected 1 to %d", len(rows), len(wanted), f.step.MaxRows)
	}
	f.used, f.wanted = f.used[:0], len(wanted)
	if err := f.choose(block, len(wanted), choices); err != nil {
		return err
	}
	if f.step.Vocab > 0 {
		f.putInt(block, program.SampleInto, 0, 0)
		for i := range min(len(rows), f.step.Sampled) {
			f.putInt(block, program.Source, i, -1)
		}
	}
	for i, r := range rows {
		f.putInt(block, "token", i, r.Token)
		f.putInt(block, "position", i, r.Position)
		f.putInt(block, "slot", i, r.Slot)
	}
	for i, w := range wanted {
		f.putInt(block, "wanted", i, int32(w))
	}
	for n, ratio := range f.step.Closing {
		f.closing[ratio] = f.closing[ratio][:0]
		for i, r := range rows {
			if (int(r.Position)+1)%ratio == 0 {
				f.putInt(block, f.ends[n], len(f.closing[ratio]), int32(i))
				f.closing[ratio] = append(f.closing[ratio], int32(i))
			}
		}
	}
	for _, s := range f.step.Symbols {
		v := f.symbol(s, rows, wanted)
		f.symbols[s.Name] = int64(v)
		f.putInt(block, s.Name, 0, v)
	}
	for i := range f.step.Ropes {
		f.rope(block, i, rows)
	}
	return nil
}

// Used are the parts of the block filled last that kernels read in its step, in order.
// The arrays at the end, which are as long as the vocabulary, mostly have little in
// them: who copies a block copies these parts. They are valid until the next Fill.
func (f *Filler) Used() []Span { return f.used }

// Symbol is a symbol's value in the block that was filled last; grids are
// formulas over them. It is an ir.Env.
func (f *Filler) Symbol(name string) (int64, bool) {
	v, ok := f.symbols[name]
	return v, ok
}

func (f *Filler) putInt(block []byte, field string, i int, v int32) {
	binary.LittleEndian.PutUint32(block[f.offsets[field]+4*i:], uint32(v))
}

func (f *Filler) putFloat(block []byte, field string, i int, v float32) {
	binary.LittleEndian.PutUint32(block[f.offsets[field]+4*i:], math.Float32bits(v))
}

func (f *Filler) symbol(s ir.Symbol, rows []ir.Row, wanted []int) int32 {
	switch s.Def {
	case ir.Rows:
		return int32(len(rows))
	case ir.Wanted:
		return int32(len(wanted))
	case ir.Closing:
		return int32(len(f.closing[int(s.Arg)]))
	}
	reach := int32(0)
	for _, r := range rows {
		reach = max(reach, r.Position+1)
	}
	return reach
}

// rope writes the cosines and sines of table i. Angles are float64, as in the
// reference.
func (f *Filler) rope(block []byte, i int, rows []ir.Row) {
	r := f.step.Ropes[i]
	at := f.offsets[f.ropes[i]]
	if r.Ratio == 0 {
		for n, row := range rows {
			f.angles(block[at+4*n*r.Attr.Dims:], i, float64(row.Position))
		}
		return
	}
	for n, row := range f.closing[r.Ratio] {
		f.angles(block[at+4*n*r.Attr.Dims:], i, float64(rows[row].Position)-float64(r.Ratio-1))
	}
}

func (f *Filler) angles(dst []byte, i int, position float64) {
	for pair, freq := range f.freqs[i] {
		sin, cos := num.SinCos(position * freq)
		binary.LittleEndian.PutUint32(dst[8*pair:], math.Float32bits(float32(cos)))
		binary.LittleEndian.PutUint32(dst[8*pair+4:], math.Float32bits(float32(sin)))
	}
}
