package metal

import (
	"errors"

	"smelt.example/smelt/codegen/bundle"
)

// Survey says how a GPU takes a bundle.
type Survey struct {
	Machine *GPU
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
	m, err := newMachine(o)
	if err != nil {
		return nil, err
	}
	s := &Survey{}
	err = m.api.Pool(func() error { return m.survey(b, s) })
	return s, errors.Join(err, m.Close())
}

func (m *machine) survey(b *bundle.Bundle, s *Survey) error {
	if err := m.find(b); err != nil {
		return err
	}
	if err := m.compile(); err != nil {
		return err
	}
	s.Machine, s.Planned, s.Rescaled, s.Refused = m.info, m.b.Plan.Target.MaxThreads, m.rescaled > 0, m.admit()
	for _, k := range m.b.Plan.Kernels {
		p := m.kernels[k.Name]
		s.Pipelines = append(s.Pipelines, Pipeline{k.Name, k.Schedule.Threads, m.api.PipelineThreads(p), m.api.PipelineMemory(p)})
	}
	return nil
}
