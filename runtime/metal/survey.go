package metal

import (
	"errors"

	"smelt/codegen/bundle"
)

// Survey is what a GPU makes of a bundle.
type Survey struct {
	Machine *Machine
	// Planned is the largest threadgroup that the plan has, in threads; Rescaled
	// says that pipelines allowed fewer than at first, so that all was planned again.
	Planned  int
	Rescaled bool
	// Refused is why the GPU has no room for the model; nil if it has.
	Refused   error
	Pipelines []Pipeline
}

// Pipeline is a kernel as the GPU's compiler made it.
type Pipeline struct {
	Kernel  string
	Threads int // of a threadgroup, as planned
	Allowed int // of a threadgroup, at most
	Memory  int // of a threadgroup, in bytes
}

// Examine compiles the bundle's kernels and says what the GPU allows. It needs
// none of the weights.
func Examine(b *bundle.Bundle, o Options) (*Survey, error) {
	d, err := newDevice(o)
	if err != nil {
		return nil, err
	}
	s := &Survey{}
	err = d.api.Pool(func() error { return d.survey(b, s) })
	return s, errors.Join(err, d.Close())
}

func (d *Device) survey(b *bundle.Bundle, s *Survey) error {
	if err := d.find(b); err != nil {
		return err
	}
	if err := d.compile(); err != nil {
		return err
	}
	s.Machine, s.Planned, s.Rescaled, s.Refused = d.machine, d.b.Plan.Target.MaxThreads, d.rescaled > 0, d.admit()
	for _, k := range d.b.Plan.Kernels {
		p := d.kernels[k.Name]
		s.Pipelines = append(s.Pipelines, Pipeline{k.Name, k.Schedule.Threads, d.api.PipelineThreads(p), d.api.PipelineMemory(p)})
	}
	return nil
}
