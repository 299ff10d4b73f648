package metal

import (
	"errors"
	"fmt"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/devmem"
)

// extra counts the bytes of the device that a bundle's Memory does not.
type extra struct {
	blocks [2]int64 // rings of step parameters, by kind
	args   [2]int64 // argument blocks of dispatches
	tables int64    // of distances between pieces
}

func (e extra) total() int64 {
	return e.blocks[0] + e.blocks[1] + e.args[0] + e.args[1] + e.tables
}

// count adds up what the plan's steps take, by binding them to addresses that
// mean nothing yet.
func (e *extra) count(b *bundle.Bundle) error {
	*e = extra{}
	var tables devmem.Tables
	where := &devmem.Memory{Params: b.Params, Tables: &tables, Weight: func(int, int64, int64) (uint64, error) { return 0, nil }}
	for i, s := range b.Plan.Steps {
		e.blocks[i] = int64(ringBlocks * aligned(s.Params.Layout.Bytes()))
		for _, x := range s.Dispatches {
			block, err := where.Block(x, 0)
			if err != nil {
				return err
			}
			e.args[i] += int64(aligned(len(block)))
		}
	}
	e.tables = int64(len(tables.Bytes()))
	return nil
}

// admit refuses a bundle that takes more than the GPU should use, and says what
// would help. What a GPU uses is wired, weights too, so that nothing can be paged.
func (m *machine) admit() error {
	if err := m.extra.count(m.b); err != nil {
		return err
	}
	gpu, memory := m.info, m.b.Memory()
	own := m.extra.total()
	needs := admission.Needs{Weights: memory.Weights, Parts: []admission.Part{{Name: "caches", Bytes: memory.Caches}, {Name: "activations", Bytes: memory.Arena}, {Name: "parameters of steps", Bytes: own}}}
	needs.Kept = m.opts.Kept
	remedy := gpu.remedy(needs.Weights+needs.Own(), m.b.LargestContext(gpu.WorkingSet-own+memory.Steps))
	kept, err := admission.Wired(needs, gpu.WorkingSet, "macOS recommends for "+gpu.Name, remedy)
	if err != nil {
		return err
	}
	if m.room = kept; m.opts.Kept == admission.Auto {
		m.room = min(kept, gpu.MaxBuffer)
	}
	for _, part := range []struct {
		what  string
		bytes int64
		less  error
	}{
		{"caches", memory.Caches, option.Errorf("take a smaller %s or %s", option.Name("Context"), option.Name("Slots"))},
		{"activations", memory.Arena, option.Errorf("take a smaller %s", option.Name("Chunk"))},
		{"kept states", m.room, option.Errorf("take a smaller %s", option.Name("CacheRAM"))},
	} {
		if part.bytes > gpu.MaxBuffer {
			return fmt.Errorf("%s take %s, and a buffer of %s has at most %s: %w", part.what, message.Bytes(part.bytes), gpu.Name, message.Bytes(gpu.MaxBuffer), part.less)
		}
	}
	return nil
}

// spared is the memory that the GPU must leave to macOS and other programs: a
// machine whose wired memory runs out stops as a whole.
const spared = 8 << 30

// remedy says what makes room for need bytes; fits is the largest context that has
// room now, 0 if none has.
func (m *GPU) remedy(need int64, fits int) error {
	const mib = 1 << 20
	more := fmt.Sprintf("allow more until the next start with: sudo sysctl iogpu.wired_limit_mb=%d", (need+mib-1)/mib)
	less := option.Errorf("take %s %d, about the largest that fits", option.Name("Context"), fits)
	enough := need <= m.Memory-spared
	switch {
	case enough && fits > 0:
		return fmt.Errorf("%s; or %w", more, less)
	case enough:
		return errors.New(more)
	case fits > 0:
		return less
	}
	return fmt.Errorf("this Mac has %s of memory, of which macOS needs some; take a checkpoint of fewer bits, or a larger Mac", message.Bytes(m.Memory))
}
