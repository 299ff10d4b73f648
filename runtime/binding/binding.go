// Package binding gives the arguments of a plan's dispatches their addresses,
// and keeps count of what slots hold: what every device that runs plans shares.
package binding

import (
	"encoding/binary"
	"fmt"
	"slices"

	"smelt/codegen/plan"
	"smelt/codegen/program"
	"smelt/codegen/storage"
	"smelt/ir"
	"smelt/ir/encoding"
)

// Memory says where things lie in a device's address space.
type Memory struct {
	Params storage.Parameters
	// File is the address of a byte of one of the checkpoint's files.
	File func(file int, offset int64) (uint64, error)
	// Table puts a table of little-endian i64 into memory that stays.
	Table  func(data []byte) (uint64, error)
	Caches uint64

	tables map[program.WeightArg]uint64
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
		at, err := m.place(p.Pieces[0], w.Role)
		return at & down, err
	}
	starts := make([]uint64, len(p.Pieces))
	for i, pc := range p.Pieces {
		offset, err := p.Start(i, w.Role)
		if err != nil {
			return 0, err
		}
		if starts[i], err = m.File(pc.Plane(w.Role).File, offset); err != nil {
			return 0, err
		}
	}
	first := slices.Min(starts) & down
	if !w.Table {
		return first, nil
	}
	if at, ok := m.tables[w]; ok {
		return at, nil
	}
	var table []byte
	for _, at := range starts {
		table = binary.LittleEndian.AppendUint64(table, at-first)
	}
	at, err := m.Table(table)
	if err != nil {
		return 0, err
	}
	if m.tables == nil {
		m.tables = map[program.WeightArg]uint64{}
	}
	m.tables[w] = at
	return at, nil
}

func (m *Memory) place(p storage.Piece, r encoding.Role) (uint64, error) {
	e := p.Plane(r)
	return m.File(e.File, e.Offset)
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
