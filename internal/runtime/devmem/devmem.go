// Package devmem gives the arguments of a plan's dispatches their addresses,
// and keeps count of what slots hold: what every device that runs plans shares.
package devmem

import (
	"encoding/binary"
	"fmt"
	"slices"

	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/program"
	"smelt.example/smelt/internal/codegen/storage"
	"smelt.example/smelt/ir"
)

// Memory says where things lie in a device's address space.
type Memory struct {
	Params storage.Parameters
	// Weight is the address of a plane of a stored matrix: of some bytes of one of
	// the checkpoint's files, from an offset on.
	Weight func(file int, offset, bytes int64) (uint64, error)
	// Tables are the tables of pieces that dispatches read.
	Tables *Tables
	Caches uint64
}

// Tables are the tables that say how far the pieces of a parameter lie from its
// first, of little-endian u64, one after another. Where they lie is known when all
// are made: blocks are made twice, the second time with Base.
type Tables struct {
	Base  uint64
	bytes []byte
	at    map[program.WeightArg]int
}

// Bytes are the tables, as they are to lie at Base.
func (t *Tables) Bytes() []byte { return t.bytes }

// add is the address of a table, made if it is not there.
func (t *Tables) add(w program.WeightArg, distances []uint64) uint64 {
	at, ok := t.at[w]
	if !ok {
		if t.at == nil {
			t.at = map[program.WeightArg]int{}
		}
		for len(t.bytes)%16 != 0 {
			t.bytes = append(t.bytes, 0)
		}
		at = len(t.bytes)
		t.at[w] = at
		for _, d := range distances {
			t.bytes = binary.LittleEndian.AppendUint64(t.bytes, d)
		}
	}
	return t.Base + uint64(at)
}

// Block is the argument block of a dispatch whose step's arena begins at arena:
// the layout of kernel.Kernel.Args, little-endian.
func (m *Memory) Block(x *plan.Dispatch, arena uint64) ([]byte, error) {
	if err := overlaps(x); err != nil {
		return nil, err
	}
	offsets, size := x.Kernel.Args()
	block := make([]byte, size)
	for i, a := range x.Args {
		at := block[offsets[i]:]
		var addr uint64
		switch {
		case a.Scalar != nil:
			binary.LittleEndian.PutUint32(at, uint32(*a.Scalar))
			continue
		case a.Buffer != nil:
			addr = arena + uint64(a.Buffer.Offset)
		case a.Cache != nil:
			addr = m.Caches + uint64(a.Cache.Offset)
		case a.Weight != nil:
			var err error
			if addr, err = m.weight(*a.Weight); err != nil {
				return nil, fmt.Errorf("kernel %s of region @%s: parameter %s: %w", x.Kernel.Name, x.Region, a.Param.Name, err)
			}
		}
		binary.LittleEndian.PutUint64(at, addr)
	}
	return block, nil
}

// overlaps refuses two arguments for one memory of which one is written:
// compilers may take a kernel's pointers as apart.
func overlaps(x *plan.Dispatch) error {
	for i, a := range x.Args {
		for _, b := range x.Args[:i] {
			same := a.Buffer != nil && a.Buffer == b.Buffer || a.Cache != nil && a.Cache == b.Cache
			if same && (a.Param.Access != 0 || b.Param.Access != 0) {
				return fmt.Errorf("kernel %s of region @%s: %s and %s are the same memory, and written; a kernel takes it as one parameter", x.Kernel.Name, x.Region, b.Param.Name, a.Param.Name)
			}
		}
	}
	return nil
}

// weight is the address of a plane, aligned down to what it is read as; of one
// in pieces the lowest piece's, or that of the table of their distances.
func (m *Memory) weight(w program.WeightArg) (uint64, error) {
	p, err := m.Params.Get(w.Param)
	if err != nil {
		return 0, err
	}
	down := ^uint64(w.Align - 1)
	if len(p.Pieces) == 1 {
		e := p.Pieces[0].Plane(w.Role)
		at, err := m.Weight(e.File, e.Offset, e.Bytes)
		return (at + uint64(w.Start)) & down, err
	}
	starts := make([]uint64, len(p.Pieces))
	for i, pc := range p.Pieces {
		offset, err := p.Start(i, w.Role)
		if err != nil {
			return 0, err
		}
		e := pc.Plane(w.Role)
		if starts[i], err = m.Weight(e.File, e.Offset, e.Bytes); err != nil {
			return 0, err
		}
		starts[i] += uint64(offset - e.Offset + int64(w.Start))
	}
	first := slices.Min(starts) & down
	if !w.Table {
		return first, nil
	}
	for i := range starts {
		starts[i] -= first
	}
	return m.Tables.add(w, starts), nil
}

// Vocab is the number of logits a plan's module returns for each wanted row.
func Vocab(m *ir.Module) (int, error) {
	t := m.Results[0].Type
	if t.Rank() == 2 {
		if n, ok := t.Shape[1].Value(); ok {
			return int(n), nil
		}
	}
	return 0, fmt.Errorf("module @%s returns %s; a model returns logits [wanted, vocabulary]", m.Name, t)
}
