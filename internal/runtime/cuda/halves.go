package cuda

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/msl"
	"smelt.example/smelt/internal/runtime/cuda/driver"
)

// convert runs package halves' kernel alone: what it finds decides the plan that all
// others follow from.
func (m *machine) convert(k *kernel.Kernel, groups int64, words []byte) (out []byte, err error) {
	text, err := msl.Print(k)
	if err != nil {
		return nil, err
	}
	code, err := m.compileAll([]*kernel.Kernel{k}, map[string]string{k.Name: text})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, code.close(m.api)) }()
	var memory [2]driver.Pointer // read, written
	for i, n := range []int{len(words), 2 * len(words)} {
		if memory[i], err = m.api.Alloc(int64(n)); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, m.api.Free(memory[i])) }()
	}
	if err := m.api.Upload(memory[0], words); err != nil {
		return nil, err
	}
	stream, err := m.api.NewStream()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.api.CloseStream(stream)) }()
	j := job{args: make([]byte, 32)}
	for i, at := range memory {
		binary.LittleEndian.PutUint64(j.args[8*i:], uint64(at))
	}
	j.Function, j.Threads, j.Grid = code.kernels[k.Name].function, uint32(k.Schedule.Threads), [3]uint32{uint32(groups), 1, 1}
	j.Params = []unsafe.Pointer{unsafe.Pointer(&j.args[0]), unsafe.Pointer(&j.begun), unsafe.Pointer(&j.number)}
	if err := m.api.Run(&j.Launch, stream); err != nil {
		return nil, err
	}
	if err := m.api.Wait(stream); err != nil {
		return nil, err
	}
	out = make([]byte, 2*len(words))
	return out, m.api.Download(out, memory[1])
}
