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
	return fits(m.b, free, m.card.Name, total)
}

func fits(b *bundle.Bundle, free int64, card string, total int64) error {
	memory := b.Memory()
	needs := admission.Needs{Weights: memory.Weights, Parts: []admission.Part{{Name: "caches", Bytes: memory.Caches}, {Name: "activations", Bytes: memory.Arena},
		{Name: "parameters of steps", Bytes: memory.Steps}, {Name: "the driver", Bytes: driverBytes}}}
	remedy := errors.New("take a checkpoint of fewer bits, or a card with more memory")
	if context := b.LargestContext(free - driverBytes); context > 0 {
		remedy = option.Errorf("take %s %d, about the largest that fits", option.Name("Context"), context)
	}
	return admission.Wired(needs, free, card+", of "+message.Bytes(total)+", has free", remedy)
}
