package interp

import (
	"encoding/binary"
	"math"

	"smelt.example/smelt/internal/codegen/kernel"
)

// sharedArray is an array of threadgroup memory with who touched each element
// since the last barrier. It begins as ones: not a number, or -1.
type sharedArray struct {
	name    string
	elem    kernel.Scalar
	bytes   []byte
	touched []touch
}

// touch names the threads that wrote and read an element, 0 for none, else
// their number from 1 on; several for several readers.
type touch struct{ writer, reader int32 }

const several = -1

func newShared(s *kernel.Shared) *sharedArray {
	a := &sharedArray{name: s.Name, elem: s.Elem, bytes: make([]byte, s.Bytes()), touched: make([]touch, s.Len)}
	for i := range a.bytes {
		a.bytes[i] = 0xff
	}
	return a
}

// access notes that a thread touches element i, and returns its bytes.
func (a *sharedArray) access(i int64, thread int, write bool) []byte {
	if i < 0 || i >= int64(len(a.touched)) {
		failf("thread %d: element %d of %s, which has %d", thread, i, a.name, len(a.touched))
	}
	t, me := &a.touched[i], int32(thread+1)
	if t.writer != 0 && t.writer != me {
		failf("race: thread %d touches %s[%d], which thread %d wrote since the last barrier", thread, a.name, i, t.writer-1)
	}
	switch {
	case write && t.reader != 0 && t.reader != me:
		failf("race: thread %d writes %s[%d], which another read since the last barrier", thread, a.name, i)
	case write:
		t.writer = me
	case t.reader == 0:
		t.reader = me
	case t.reader != me:
		t.reader = several
	}
	size := a.elem.Bytes()
	return a.bytes[int(i)*size : (int(i)+1)*size]
}

// placeName identifies what a load or store names.
type placeName struct {
	space kernel.Space
	name  string
}

// place is the memory that a name stands for.
type place struct {
	name   string
	elem   kernel.Type
	shared *sharedArray // threadgroup memory, or
	bytes  []byte
	access kernel.Access
}

// place finds a name's memory. Each threadgroup has its own threadgroup memory.
func (m *machine) place(space kernel.Space, name string) *place {
	if space == kernel.Threadgroup {
		a := m.shared[name]
		return &place{name: name, elem: kernel.Of(a.elem), shared: a}
	}
	if p, ok := m.places[placeName{space, name}]; ok {
		return p
	}
	p := &place{name: name, access: kernel.ReadWrite}
	if space == kernel.StepBlock {
		f := m.kernel.Step.Field(name)
		p.elem, p.bytes = kernel.Of(f.Elem), m.launch.Step[m.kernel.Step.Offset(name):][:4*f.Len]
	} else {
		param := m.kernel.Param(name)
		p.elem, p.bytes, p.access = param.Elem, m.launch.Buffers[name], param.Access
	}
	m.places[placeName{space, name}] = p
	return p
}

// at is the memory of element i, for an access by a thread.
func (p *place) at(i int64, thread int, write bool) []byte {
	if p.shared != nil {
		return p.shared.access(i, thread, write)
	}
	if write && p.access == kernel.Read || !write && p.access == kernel.Write {
		failf("thread %d: %s is declared for %s", thread, p.name, p.access)
	}
	size := int64(p.elem.Bytes())
	if i < 0 || (i+1)*size > int64(len(p.bytes)) {
		failf("thread %d: element %d of %s, which has %d bytes, %d an element", thread, i, p.name, len(p.bytes), size)
	}
	return p.bytes[i*size : (i+1)*size]
}

// decode and encode move one value between memory and a thread.
func decode(v *value, b []byte, e kernel.Type) {
	size := e.Scalar.Bytes()
	for l := range e.Lanes {
		p := b[l*size:]
		switch e.Scalar {
		case kernel.F32:
			v.f[l] = math.Float32frombits(binary.LittleEndian.Uint32(p))
		case kernel.F16:
			v.f[l] = halfValue(binary.LittleEndian.Uint16(p))
		case kernel.I64:
			v.i[l] = int64(binary.LittleEndian.Uint64(p))
		case kernel.U8:
			v.i[l] = int64(p[0])
		case kernel.U16:
			v.i[l] = int64(binary.LittleEndian.Uint16(p))
		default:
			v.i[l] = wrap(e.Scalar, int64(binary.LittleEndian.Uint32(p)))
		}
	}
}

func encode(b []byte, e kernel.Type, v *value) {
	size := e.Scalar.Bytes()
	for l := range e.Lanes {
		p := b[l*size:]
		switch e.Scalar {
		case kernel.F32:
			binary.LittleEndian.PutUint32(p, math.Float32bits(v.f[l]))
		case kernel.F16:
			binary.LittleEndian.PutUint16(p, halfBits(v.f[l]))
		case kernel.I64:
			binary.LittleEndian.PutUint64(p, uint64(v.i[l]))
		case kernel.U8:
			p[0] = byte(v.i[l])
		case kernel.U16:
			binary.LittleEndian.PutUint16(p, uint16(v.i[l]))
		default:
			binary.LittleEndian.PutUint32(p, uint32(v.i[l]))
		}
	}
}

// wrap brings an integer into its type's range.
func wrap(s kernel.Scalar, n int64) int64 {
	switch s {
	case kernel.I32:
		return int64(int32(n))
	case kernel.U32:
		return int64(uint32(n))
	case kernel.U16:
		return int64(uint16(n))
	case kernel.U8:
		return int64(uint8(n))
	}
	return n
}

// halfValue converts a binary16 to a number.
func halfValue(h uint16) float32 {
	sign, exponent, fraction := 1.0, int(h>>10&31), float64(h&1023)
	if h>>15 == 1 {
		sign = -1
	}
	switch exponent {
	case 0:
		return float32(sign * math.Ldexp(fraction, -24))
	case 31:
		if fraction != 0 {
			return float32(math.NaN())
		}
		return float32(math.Inf(int(sign)))
	}
	return float32(sign * math.Ldexp(1024+fraction, exponent-25))
}

// halfBits rounds to the nearest binary16, ties to even.
func halfBits(x float32) uint16 {
	sign := uint16(math.Float32bits(x) >> 16 & 0x8000)
	a := math.Abs(float64(x))
	switch {
	case a != a:
		return sign | 0x7e00
	case a >= 65520:
		return sign | 0x7c00
	case a < 0x1p-14:
		return sign | uint16(math.RoundToEven(a*0x1p24))
	}
	fraction, exponent := math.Frexp(a) // a = fraction * 2^exponent, fraction in [0.5, 1)
	return sign | uint16(int(math.RoundToEven(fraction*2048))-1024+(exponent+14)<<10)
}
