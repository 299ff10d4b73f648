package planned_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/kernel/interp"
	"smelt.example/smelt/internal/codegen/plan"
	"smelt.example/smelt/internal/codegen/target"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/internal/runtime/stepblock"
	"smelt.example/smelt/models/checkpoint"
)

// trial is a machine as a graphics card is one: its memory is its own, and weights
// are uploaded. It counts. Its kernels run in the interpreter, if at all, and only
// when they are waited for.
type trial struct {
	ck      *checkpoint.Checkpoint
	runs    bool // kernels, in the interpreter; else they are counted alone
	memory  []byte
	owned   []span                       // what was given out
	uploads map[[2]int64]planned.Address // of planes, by file and offset
	queue   [][]func() error             // by Start
	begun   bool
	closed  bool
	broken  error // by a call out of order
	room    int64 // for what is kept of slots
	counts
}

// counts are what a trial machine counts, since it was made or reset.
type counts struct {
	Allocated, Uploaded, Read, Written, Copied int64 // bytes
	Starts, Waits, Dispatches, Copies          int
}

// span is memory from one address to before another.
type span struct{ from, to planned.Address }

// base is the first address: no memory of the host's.
const base planned.Address = 0xdead << 40

// made is for planned.Open.
func (m *trial) made(b *bundle.Bundle) (planned.Machine, *bundle.Bundle, error) {
	b, err := b.For(target.CPU8)
	m.uploads = map[[2]int64]planned.Address{}
	return m, b, err
}

// reserve gives memory whose address is congruent to skew modulo 256.
func (m *trial) reserve(n int64, skew int64) planned.Address {
	room := (int64(len(m.memory)) + 255) / 256 * 256
	m.memory = append(m.memory, make([]byte, room+skew+n-int64(len(m.memory)))...)
	at := base + planned.Address(room+skew)
	m.owned = append(m.owned, span{at, at + planned.Address(n)})
	return at
}

// at is the n bytes at an address, which must lie in what was given out once.
func (m *trial) at(a planned.Address, n int64, running bool) ([]byte, error) {
	if len(m.queue) > 0 && !running || m.closed {
		return nil, m.wrong("memory is used while steps are still to be waited for, or after Close")
	}
	for _, s := range m.owned {
		if a >= s.from && a+planned.Address(n) <= s.to {
			return m.memory[a-base:][:n], nil
		}
	}
	return nil, m.wrong(fmt.Sprintf("%d bytes at %#x were not given out", n, uint64(a)))
}

// wrong notes a call that the machine's order does not allow.
func (m *trial) wrong(what string) error {
	m.broken = errors.Join(m.broken, errors.New(what))
	return m.broken
}

func (m *trial) Alloc(_ string, n int64) (planned.Address, error) {
	m.Allocated += n
	return m.reserve(n, 0), nil
}

func (m *trial) Weight(file int, offset, n int64) (planned.Address, error) {
	key := [2]int64{int64(file), offset}
	if _, there := m.uploads[key]; !there {
		at := m.reserve(n, 16+offset%16)
		copy(m.memory[at-base:], m.ck.Files[file].Bytes()[offset:][:n])
		m.uploads[key] = at
		m.Uploaded += n
	}
	return m.uploads[key], nil
}

func (m *trial) Read(to []byte, from planned.Address) error {
	m.counts.Read += int64(len(to))
	b, err := m.at(from, int64(len(to)), true)
	copy(to, b)
	return err
}

func (m *trial) Write(to planned.Address, bytes []byte) error {
	m.Written += int64(len(bytes))
	b, err := m.at(to, int64(len(bytes)), false)
	copy(b, bytes)
	return err
}

func (m *trial) Copy(to, from planned.Address, n int64) error {
	m.Copied, m.Copies = m.Copied+n, m.Copies+1
	a, err := m.at(to, n, false)
	if err != nil {
		return err
	}
	b, err := m.at(from, n, false)
	copy(a, b)
	return err
}

func (m *trial) Room() int64 { return m.room }

func (m *trial) Begin() error {
	if m.begun {
		return m.wrong("Begin is called twice")
	}
	m.begun = true
	return nil
}

func (m *trial) Wait(ctx context.Context, behind int) error {
	m.Waits++
	for len(m.queue) > behind {
		for _, run := range m.queue[0] {
			if err := cmpOr(ctx.Err(), run); err != nil {
				m.queue = nil
				return err
			}
		}
		m.queue = m.queue[1:]
	}
	return nil
}

// cmpOr is the first error: the one that is there, or a function's.
func cmpOr(err error, f func() error) error {
	if err != nil {
		return err
	}
	return f()
}

func (m *trial) Close() error {
	if m.closed {
		return m.wrong("Close is called twice")
	}
	m.closed = true
	return nil
}

// trialStep is a step on the trial machine.
type trialStep struct {
	m      *trial
	plan   *plan.Step
	args   [][]byte
	params []byte
	used   []stepblock.Span
}

func (m *trial) Prepare(s *plan.Step, args [][]byte) (planned.Step, error) {
	if m.begun {
		return nil, m.wrong("Prepare is called after Begin")
	}
	return &trialStep{m: m, plan: s, args: args, params: make([]byte, s.Params.Layout.Bytes())}, nil
}

func (s *trialStep) Params() []byte         { return s.params }
func (s *trialStep) Times() []time.Duration { return nil }
func (s *trialStep) Begun() int             { return 0 } // of what was started; it runs when it is waited for

func (s *trialStep) Use(parts []stepblock.Span) { s.used = parts }

// copied are the parameters as kernels find them: what no step is said to use is poison.
func (s *trialStep) copied() []byte {
	block := bytes.Repeat([]byte{planned.PoisonByte}, len(s.params))
	for _, part := range s.used {
		copy(block[part.From:part.To], s.params[part.From:])
	}
	return block
}

func (s *trialStep) Start(grids [][3]int64, from, to int) error {
	if !s.m.begun {
		return s.m.wrong("Start is called before Begin")
	}
	s.m.Starts++
	block, work := s.copied(), []func() error{}
	for i := from; i < to; i++ {
		x, grid := s.plan.Dispatches[i], grids[i]
		work = append(work, func() error { return s.dispatch(x, s.args[i], block, grid) })
	}
	s.m.queue = append(s.m.queue, work)
	return nil
}

// dispatch runs a kernel, or only counts it.
func (s *trialStep) dispatch(x *plan.Dispatch, args, block []byte, grid [3]int64) error {
	s.m.Dispatches++
	if !s.m.runs {
		return nil
	}
	l := interp.Launch{Buffers: map[string][]byte{}, Scalars: map[string]int32{}, Step: block, Grid: [3]int{int(grid[0]), int(grid[1]), int(grid[2])}}
	offsets, _ := x.Kernel.Args()
	for i, p := range x.Kernel.Params {
		if p.Pointer {
			l.Buffers[p.Name] = s.m.memory[planned.Address(binary.LittleEndian.Uint64(args[offsets[i]:]))-base:]
		} else {
			l.Scalars[p.Name] = int32(binary.LittleEndian.Uint32(args[offsets[i]:]))
		}
	}
	return interp.Run(x.Kernel, l)
}
