// Package tensor holds what the reference evaluator computes with: dense
// arrays, parameters that are decoded row by row where they lie, and the logs
// of per-sequence states. It knows no operation and no file format.
package tensor

import (
	"fmt"
	"maps"
	"slices"
)

// Float is the precision an evaluation runs in.
type Float interface{ float32 | float64 }

// Value is one operand or result. One of F, I, Rows and Log is used: a dense
// real tensor, a dense integer tensor, a parameter, or a state. An F or I
// without elements may be nil.
type Value[F Float] struct {
	Shape []int
	F     []F
	I     []int32
	Rows  Source
	Log   *Log[F]
}

// Source is a stored parameter seen as a matrix: all dimensions but the last
// are rows, the last is columns. Rows are decoded on demand, so a parameter
// costs no memory beyond the mapped file. Safe for concurrent use.
type Source interface {
	Rows() int
	Cols() int
	// Row32 and Row64 decode row r into dst, which has Cols() elements. Row64
	// is exact; Row32 is rounded once.
	Row32(dst []float32, r int)
	Row64(dst []float64, r int)
	// Ints decodes row r of an integer parameter. It fails on a parameter of
	// real numbers and on a value outside int32.
	Ints(dst []int32, r int) error
}

// DecodeRow decodes row r of s in precision F.
func DecodeRow[F Float](s Source, dst []F, r int) {
	switch d := any(dst).(type) {
	case []float32:
		s.Row32(d, r)
	case []float64:
		s.Row64(d, r)
	}
}

// Len is the number of elements of a shape.
func Len(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Dense returns the elements of a real value, decoding a parameter in full.
func (v Value[F]) Dense() []F {
	if v.Rows == nil {
		return v.F
	}
	rows, cols := v.Rows.Rows(), v.Rows.Cols()
	out := make([]F, rows*cols)
	for r := range rows {
		DecodeRow(v.Rows, out[r*cols:(r+1)*cols], r)
	}
	return out
}

// Ints returns the elements of an integer value, decoding a parameter in full.
// It fails where a stored number is outside int32.
func (v Value[F]) Ints() ([]int32, error) {
	if v.Rows == nil {
		return v.I, nil
	}
	rows, cols := v.Rows.Rows(), v.Rows.Cols()
	out := make([]int32, rows*cols)
	for r := range rows {
		if err := v.Rows.Ints(out[r*cols:(r+1)*cols], r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Log is the memory of one state: for each slot, rows numbered from 0 that
// are only ever added at the end. Old rows may be dropped once no reader can
// look back at them.
type Log[F Float] struct {
	width   int
	slots   map[int32]*history[F]
	pending map[int32]bool // slots with rows since their last Commit
}

type history[F Float] struct {
	first int // index of data's first row
	data  []F
	mark  int // rows at the last Commit, for Rollback
}

// NewLog returns an empty log with rows of width elements, 1 or more.
func NewLog[F Float](width int) *Log[F] {
	return &Log[F]{width: width, slots: map[int32]*history[F]{}, pending: map[int32]bool{}}
}

// Width is the number of elements of a row.
func (l *Log[F]) Width() int { return l.width }

// Next is the index the slot's next appended row gets.
func (l *Log[F]) Next(slot int32) int {
	h := l.slots[slot]
	if h == nil {
		return 0
	}
	return h.first + len(h.data)/l.width
}

// Append adds one row of Width elements to a slot, from 0 on. index must be Next(slot).
func (l *Log[F]) Append(slot int32, index int, row []F) error {
	if slot < 0 {
		return fmt.Errorf("slot %d: slots are numbered from 0", slot)
	}
	if n := l.Next(slot); index != n {
		return fmt.Errorf("slot %d: appends row %d where row %d is next", slot, index, n)
	}
	h := l.slots[slot]
	if h == nil {
		h = &history[F]{}
		l.slots[slot] = h
	}
	h.data = append(h.data, row...)
	l.pending[slot] = true
	return nil
}

// Pending lists, ascending, the slots that were given rows since their last
// Commit or Rollback.
func (l *Log[F]) Pending() []int32 { return slices.Sorted(maps.Keys(l.pending)) }

// Row returns row index of a slot; the caller must not change it.
func (l *Log[F]) Row(slot int32, index int) ([]F, error) {
	h := l.slots[slot]
	if h == nil || index < h.first || index >= l.Next(slot) {
		return nil, fmt.Errorf("slot %d: row %d is not kept (next is %d)", slot, index, l.Next(slot))
	}
	at := (index - h.first) * l.width
	return h.data[at : at+l.width : at+l.width], nil
}

// Rows is a copy of a slot's rows from one index to before another.
func (l *Log[F]) Rows(slot int32, from, to int) ([]F, error) {
	if from >= to {
		return nil, nil
	}
	for _, i := range []int{from, to - 1} { // and so all between
		if _, err := l.Row(slot, i); err != nil {
			return nil, err
		}
	}
	h := l.slots[slot]
	return slices.Clone(h.data[(from-h.first)*l.width : (to-h.first)*l.width]), nil
}

// Put gives a slot rows from an index on, as if those before had been dropped. What it had
// is forgotten.
func (l *Log[F]) Put(slot int32, first int, rows ...[]F) {
	delete(l.pending, slot)
	h := &history[F]{first: first, data: slices.Concat(rows...)}
	l.slots[slot] = h
	h.mark = l.Next(slot)
}

// Spare is how many rows more than asked for stay when others are dropped, so that the
// last ones can be taken back.
const Spare = 16

// Commit ends a step: rows appended so far stay, and rows further back than
// keep (0 or more) and Spare from the end may be dropped.
func (l *Log[F]) Commit(slot int32, keep int) {
	delete(l.pending, slot)
	h := l.slots[slot]
	if h == nil {
		return
	}
	if rows := len(h.data) / l.width; (rows-64)/2 > keep { // amortises the copy
		drop := rows - min(keep+Spare, rows)
		h.data = append(h.data[:0], h.data[drop*l.width:]...)
		h.first += drop
	}
	h.mark = l.Next(slot)
}

// Rollback drops what a slot was given since its last Commit.
func (l *Log[F]) Rollback(slot int32) {
	delete(l.pending, slot)
	if h := l.slots[slot]; h != nil {
		h.data = h.data[:(h.mark-h.first)*l.width]
	}
}

// Truncate drops a slot's rows from an index on, at most Spare of them, as if they had
// never been appended.
func (l *Log[F]) Truncate(slot int32, rows int) {
	if h := l.slots[slot]; h != nil && rows < l.Next(slot) {
		h.data = h.data[:max(rows-h.first, 0)*l.width]
		h.mark = l.Next(slot)
	}
}

// Reset forgets a slot.
func (l *Log[F]) Reset(slot int32) {
	delete(l.pending, slot)
	delete(l.slots, slot)
}
