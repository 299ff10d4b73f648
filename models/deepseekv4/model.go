package deepseekv4

import (
	"fmt"
	"path/filepath"
	"slices"

	"smelt/ir"
	"smelt/ir/encoding"
	"smelt/ir/tensor"
	"smelt/models/checkpoint"
)

// Model is an opened checkpoint: its configuration, its graph and the graph's
// parameters bound to the stored tensors.
type Model struct {
	Config     *Config
	Graph      *ir.Module
	Checkpoint *checkpoint.Checkpoint
	Binding    *checkpoint.Binding
	sources    map[string]tensor.Source
}

// Open opens the checkpoint in a folder and binds it. No weight is read. The
// error lists everything that is wrong (see checkpoint.Findings, ConfigError).
func Open(path string) (*Model, error) {
	ck, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	m, err := Bind(ck)
	if err != nil {
		ck.Close() // the mappings are of no use; err says why
		return nil, err
	}
	return m, nil
}

// Bind finds the model of an open checkpoint's config.json in its tensors. No
// weight is read. On success closing the model closes the checkpoint; the error
// is as Open's.
func Bind(ck *checkpoint.Checkpoint) (*Model, error) {
	cfg, err := ParseConfig(ck.ConfigJSON(), filepath.Join(ck.Dir, "config.json"))
	if err != nil {
		return nil, err
	}
	graph, err := Graph(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: the sizes of config.json do not make a graph: %w", ck.Dir, err)
	}
	binding, err := checkpoint.Bind(ck, checkpoint.Model{
		Graph: graph, Layouts: Layouts(), Ignores: Ignores(), Declared: cfg.Quant.declared(),
	})
	if err != nil {
		return nil, err
	}
	m := &Model{Config: cfg, Graph: graph, Checkpoint: ck, Binding: binding, sources: map[string]tensor.Source{}}
	for i := range binding.Params {
		m.sources[binding.Params[i].Name] = binding.Params[i].Source()
	}
	return m, nil
}

// Weights gives a parameter's values by name, or nil; it is an eval.Weights.
func (m *Model) Weights(name string) tensor.Source { return m.sources[name] }

// Close unmaps the checkpoint; sources are not valid after it.
func (m *Model) Close() error { return m.Checkpoint.Close() }

// declared puts config.json's claims about storage into the binder's terms.
func (q Quantization) declared() checkpoint.Declared {
	var d checkpoint.Declared
	switch {
	case q.Official != nil:
		d.Default = "fp8 in blocks of 128 x 128"
		if q.Official.ExpertDType != "" {
			d.Default += " with " + q.Official.ExpertDType + " experts"
		}
		d.Agrees = func(e encoding.Encoding) bool {
			mode := encoding.SettingOf(e).Mode
			return mode == "fp8" || mode == "fp4" && q.Official.ExpertDType != "fp8"
		}
	case q.Global != nil:
		d.Default = q.Global.String()
		d.Agrees = q.Global.agrees
	}
	for stem, m := range q.Modules {
		d.Modules = append(d.Modules, checkpoint.DeclaredModule{Stem: stem, Says: m.String(), Agrees: m.agrees})
	}
	slices.SortFunc(d.Modules, func(a, b checkpoint.DeclaredModule) int {
		if a.Stem < b.Stem {
			return -1
		}
		return 1
	})
	return d
}

// agrees tells whether an encoding is what the setting says.
func (m ModuleQuant) agrees(e encoding.Encoding) bool {
	return encoding.SettingOf(e) == encoding.Setting{Mode: m.Mode, Bits: m.Bits, Group: m.Group}
}
