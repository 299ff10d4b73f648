package metal

import (
	"encoding/binary"
	"errors"
	"slices"

	"smelt.example/smelt/internal/codegen/kernel"
	"smelt.example/smelt/internal/codegen/msl"
	"smelt.example/smelt/internal/runtime/metal/objc"
)

// convert runs package halves' kernel alone, with a queue and buffers of its own: what
// it finds decides the plan that all others follow from.
func (m *machine) convert(k *kernel.Kernel, groups int64, words []byte) (out []byte, err error) {
	text, err := msl.Print(k)
	if err != nil {
		return nil, err
	}
	pso, err := pipeline(m.api, m.gpu, k, text, &archive{})
	if err != nil {
		return nil, err
	}
	defer m.api.Release(pso)
	own := &memory{m: m}
	defer own.close()
	var buffers [3]buffer // read, written, arguments
	for i, n := range []int{len(words), 2 * len(words), alignment} {
		if buffers[i], err = own.alloc("halves", int64(n)); err != nil {
			return nil, err
		}
	}
	copy(buffers[0].bytes, words)
	for i := range 2 {
		binary.LittleEndian.PutUint64(buffers[2].bytes[8*i:], buffers[i].address)
	}
	p := &probes{args: buffers[2], ids: own.own}
	p.jobs[0] = job{kernel: k.Name, pipeline: pso, grid: [3]int64{groups, 1, 1}, threads: k.Schedule.Threads}
	if err := m.alone(p); err != nil {
		return nil, err
	}
	return slices.Clone(buffers[1].bytes), nil
}

// alone runs the first of some probes in a queue that is made for it.
func (m *machine) alone(p *probes) error {
	q := &queue{api: m.api, own: p.ids, encoder: newEncoder(m.api, false)}
	q.messages()
	q.id, q.fence = m.api.NewQueue(m.gpu, waiting, "halves"), m.api.NewFence(m.gpu)
	defer func() {
		q.forgetAll()
		for _, id := range []objc.ID{q.fence, q.id} {
			m.api.Release(id)
		}
	}()
	if q.id == 0 || q.fence == 0 {
		return errors.New("the GPU gives no command queue or fence")
	}
	if err := q.probe(p, 0); err != nil {
		return err
	}
	r := q.running[0]
	q.send(q.completed, r.id)
	if q.send(q.status, r.id) == objc.StatusError {
		return m.api.Failure(r.id)
	}
	return nil
}
