package planned

import (
	"fmt"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/codegen/halves"
	"smelt.example/smelt/internal/codegen/kernel"
)

// Halves plans a bundle for what a machine makes of halves, which it finds out by running
// package halves' kernel once: `run` gives what the kernel writes for what it reads, in
// so many threadgroups. Where they do not all become the right float32, the model is
// planned again with kernels that need none. The note is for people.
func Halves(b *bundle.Bundle, run func(k *kernel.Kernel, groups int64, words []byte) ([]byte, error)) (_ *bundle.Bundle, note string, err error) {
	to := b.Plan.Target
	if !to.Halves {
		return b, "kernels unpack small floats without halves: the bundle was planned so", nil
	}
	k, groups, err := halves.Kernel(to)
	if err != nil {
		return nil, "", err
	}
	out, err := run(k, groups, halves.Words())
	if err != nil {
		return nil, "", fmt.Errorf("finding out whether halves are converted exactly: %w", err)
	}
	wrong := halves.Judge(out)
	if wrong == nil {
		return b, "all halves become the right float32: small floats are unpacked through them", nil
	}
	b, err = b.For(to.WithoutHalves())
	if err != nil {
		return nil, "", fmt.Errorf("planning without halves: %w", err)
	}
	return b, fmt.Sprintf("planned again, small floats are unpacked without halves: %v", wrong), nil
}
