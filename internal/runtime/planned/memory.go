package planned

import (
	"bytes"
	"encoding/binary"
	"math"

	"smelt.example/smelt/internal/codegen/program"
)

// read reads n bytes. They are valid until the next read.
func (d *Device) read(from Address, n int64) ([]byte, error) {
	if int64(cap(d.buffer)) < n {
		d.buffer = make([]byte, n)
	}
	d.buffer = d.buffer[:n]
	if n == 0 {
		return d.buffer, nil
	}
	return d.buffer, d.machine.Read(d.buffer, from)
}

// logits are those of n wanted rows of a step, from the first on.
func (d *Device) logits(s *step, first, n int) ([]float32, error) {
	out, err := d.read(d.arena+Address(s.plan.Results[0].Offset+4*int64(first)*int64(d.vocab)), 4*int64(n)*int64(d.vocab))
	if err != nil {
		return nil, err
	}
	logits := make([]float32, d.vocab*n)
	for i := range logits {
		logits[i] = math.Float32frombits(binary.LittleEndian.Uint32(out[4*i:]))
	}
	return logits, nil
}

// PoisonByte fills memory that must not be read before it is written: floats of it are
// NaNs, integers -1.
const PoisonByte = 0xff

// poison fills the step's arena, but for what it holds of the steps before.
func (s *step) poison() error {
	d := s.d
	if err := d.wait(d.ahead.starts); err != nil {
		return err
	}
	const piece = 1 << 20
	poison := bytes.Repeat([]byte{PoisonByte}, int(min(s.plan.ArenaBytes, piece)))
	for at := s.plan.HeldBytes(); at < s.plan.ArenaBytes; at += piece {
		if err := d.machine.Write(d.arena+Address(at), poison[:min(s.plan.ArenaBytes-at, piece)]); err != nil {
			return err
		}
	}
	return nil
}

// tokens reads those of a set.
func (d *Device) tokens(set int, tokens []int32) error {
	at := int64(4 * set * program.MaxSampled)
	out, err := d.read(d.arena+Address(d.steps[program.Decode].plan.Tokens.Offset+at), 4*int64(len(tokens)))
	if err != nil {
		return err
	}
	for i := range tokens {
		tokens[i] = int32(binary.LittleEndian.Uint32(out[4*i:]))
	}
	return nil
}

// cacheMemory is the caches' memory, as package binding takes it.
type cacheMemory struct{ d *Device }

func (m cacheMemory) Read(to []byte, at int64) error {
	return m.d.Exclusively(func() error { return m.d.machine.Read(to, m.d.caches+Address(at)) })
}

func (m cacheMemory) Write(at int64, bytes []byte) error {
	return m.d.Exclusively(func() error { return m.d.machine.Write(m.d.caches+Address(at), bytes) })
}

func (m cacheMemory) Copy(to, from, n int64) error {
	return m.d.Exclusively(func() error { return m.d.machine.Copy(m.d.caches+Address(to), m.d.caches+Address(from), n) })
}
