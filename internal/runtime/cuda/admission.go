package cuda

import (
	"errors"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/runtime/admission"
)

// driverBytes is about what the driver, machine code and the graphs of decode steps take
// beside what a plan counts; on an H200 it was less.
const driverBytes = 256 << 20

// admit refuses a model that takes more than a card has free, weights and all.
func (m *machine) admit() error {
	free, total, err := m.api.Memory()
	if err != nil {
		return err
	}
	m.room, err = fits(m.b, m.opts.Kept, free, m.card.Name, total)
	return err
}

// fits refuses what does not, and tells how many bytes there may be for what is kept of slots.
func fits(b *bundle.Bundle, kept, free int64, card string, total int64) (int64, error) {
	memory := b.Memory()
	needs := admission.Needs{Weights: memory.Weights, Kept: kept, Parts: []admission.Part{{Name: "caches", Bytes: memory.Caches}, {Name: "activations", Bytes: memory.Arena},
		{Name: "parameters of steps", Bytes: memory.Steps}, {Name: "the driver", Bytes: driverBytes}}}
	remedy := errors.New("take a checkpoint of fewer bits, or a card with more memory")
	if context := b.LargestContext(free - driverBytes); context > 0 {
		remedy = option.Errorf("take %s %d, about the largest that fits", option.Name("Context"), context)
	}
	return admission.Wired(needs, free, card+", of "+message.Bytes(total)+", has free", remedy)
}
