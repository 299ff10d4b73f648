package metal

import (
	"fmt"
	"path/filepath"
	"slices"
	"unsafe"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/checkpoint/container"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/metal/objc"
	"smelt.example/smelt/internal/runtime/planned"
	"smelt.example/smelt/models/checkpoint"
)

// buffer is an MTLBuffer, as both processors see it.
type buffer struct {
	id      objc.ID
	address uint64 // the GPU's
	bytes   []byte
}

// view is a buffer over a part of a file, which begins at a page.
type view struct {
	buffer
	start int64
}

// memory holds all buffers of a machine.
type memory struct {
	m     *machine
	files []checkpoint.File
	views [][]view // of each file, by start
	// mapped are the buffers over files, which nothing may write to, own all others.
	mapped, own []objc.ID
	made        int64 // bytes of own
}

// newMemory has the checkpoint's files, and nothing else yet.
func (m *machine) newMemory() (*memory, error) {
	x := &memory{m: m, files: m.ck.Files}
	if err := x.mapFiles(); err != nil {
		x.close()
		return nil, err
	}
	return x, nil
}

// all are all buffers.
func (m *memory) all() []objc.ID { return slices.Concat(m.mapped, m.own) }

// alloc makes a buffer of at least one byte.
func (m *memory) alloc(what string, n int64) (buffer, error) {
	n = max(n, 16)
	id := m.m.api.NewBuffer(m.m.gpu, n, what)
	if id == 0 {
		return buffer{}, option.Errorf("%s for %s: the GPU's memory is full (%s are taken, %s recommended at most); take a smaller %s, %s or %s",
			message.Bytes(n), what, message.Bytes(m.m.api.Allocated(m.m.gpu)), message.Bytes(m.m.info.WorkingSet), option.Name("Context"), option.Name("Chunk"), option.Name("Slots"))
	}
	m.own = append(m.own, id)
	m.made += n
	return m.seen(id, n), nil
}

func (m *memory) seen(id objc.ID, n int64) buffer {
	return buffer{id: id, address: m.m.api.Address(id), bytes: unsafe.Slice((*byte)(m.m.api.Contents(id)), n)}
}

// mapFiles covers every file with views in which each tensor lies whole.
func (m *memory) mapFiles() error {
	page := int64(m.m.opts.PageSize)
	for _, f := range m.files {
		largest := int64(0)
		for _, t := range f.Tensors() {
			largest = max(largest, t.Bytes)
		}
		ranges, err := ranges(f.Size(), largest, m.m.info.MaxBuffer, page)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path(), err)
		}
		var views []view
		for i, r := range ranges {
			label := fmt.Sprintf("%s, view %d", filepath.Base(f.Path()), i)
			id := m.m.api.NewBufferNoCopy(m.m.gpu, unsafe.Pointer(&f.Bytes()[r.start]), r.length, label)
			if id == 0 {
				return fmt.Errorf("%s: Metal makes no buffer of %s that are mapped from %s on", f.Path(), message.Bytes(r.length), message.Bytes(r.start))
			}
			m.mapped = append(m.mapped, id)
			views = append(views, view{buffer{id: id, address: m.m.api.Address(id)}, r.start})
		}
		m.views = append(m.views, views)
	}
	return nil
}

// span is a part of a file, in whole pages.
type span struct{ start, length int64 }

// ranges covers size bytes with spans of at most most bytes, each next one
// beginning so early that nothing of largest bytes that begins before it goes
// beyond the one before.
func ranges(size, largest, most, page int64) ([]span, error) {
	up := func(n int64) int64 { return (n + page - 1) / page * page }
	total, most := up(size), most/page*page
	if total <= most {
		return []span{{0, total}}, nil
	}
	advance := most - up(largest) - page
	if advance <= 0 {
		return nil, fmt.Errorf("a tensor of %s does not fit a buffer, which has at most %s", message.Bytes(largest), message.Bytes(most))
	}
	var out []span
	for start := int64(0); ; start += advance {
		out = append(out, span{start, min(most, total-start)})
		if start+most >= total {
			return out, nil
		}
	}
}

// fileAddress is where the GPU sees a byte of a file, and what follows it of its
// tensor.
func (m *memory) fileAddress(file int, offset int64) planned.Address {
	views := m.views[file]
	i := len(views) - 1
	for views[i].start > offset {
		i--
	}
	return planned.Address(views[i].address + uint64(offset-views[i].start))
}

// pageIn reads the weights once, so that the first step does not wait for the
// disk unseen.
func (m *memory) pageIn(progress func(done, total int64), stop func() error) error {
	if progress == nil {
		return nil
	}
	const piece = 64 << 20 // of whole pages
	total, done := int64(0), int64(0)
	for _, f := range m.files {
		total += f.Size()
	}
	sum := byte(0)
	for _, f := range m.files {
		b := f.Bytes()
		for at := 0; at < len(b); at += piece {
			if err := stop(); err != nil {
				return err
			}
			part := b[at:min(at+piece, len(b))]
			f.ReadAhead(int64(at), 2*piece) // this one and, meanwhile, the next
			err := container.Guard(func() {
				for i := 0; i < len(part); i += m.m.opts.PageSize {
					sum ^= part[i]
				}
			}, f)
			if err != nil {
				return err
			}
			done += int64(len(part))
			progress(done, total)
		}
	}
	keep(sum)
	return nil
}

// keep makes the reads of pageIn matter.
//
//go:noinline
func keep(byte) {}

func (m *memory) close() {
	for _, id := range m.all() {
		m.m.api.Release(id)
	}
	m.mapped, m.own = nil, nil
}
