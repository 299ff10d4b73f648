package deepseekv4

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/models/arch"
	"smelt.example/smelt/internal/models/schema"
	"smelt.example/smelt/models/checkpoint"
)

// name is the architecture's for people.
const name = "DeepSeek-V4"

// Architecture is DeepSeek-V4 as one row of the table of models.
func Architecture() arch.Architecture {
	return arch.Architecture{Name: name, ModelTypes: []string{modelType}, Classes: []string{class}, Describe: describe}
}

// describe reads config.json, counts each layer's experts, builds the graph and finds
// the profile of the chat format. The error is a *ConfigError or a
// *checkpoint.Findings, or names the folder.
func describe(ck *checkpoint.Checkpoint) (*arch.Description, error) {
	cfg, err := ParseConfig(ck.ConfigJSON(), filepath.Join(ck.Dir, "config.json"))
	if err != nil {
		return nil, err
	}
	sized, err := cfg.countExperts(ck)
	if err != nil {
		return nil, err
	}
	graph, err := Graph(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: the sizes of config.json do not make a graph: %w", ck.Dir, err)
	}
	profile, note, err := profileOf(ck.Dir)
	if err != nil {
		return nil, err
	}
	facts := cfg.facts()
	if note != "" {
		facts.Notes = append(slices.Clone(facts.Notes), note)
	}
	return &arch.Description{
		Facts: facts,
		Model: schema.Model{Graph: graph, Layouts: Layouts(), Ignores: Ignores(), Declared: cfg.Quant.declared(), Sized: sized},
		Chat:  ChatFormat{Profile: profile},
	}, nil
}

// declared puts config.json's claims about storage into the binder's terms.
func (q Quantization) declared() schema.Declared {
	var d schema.Declared
	switch {
	case q.Official != nil:
		d.Default = q.String()
		d.Agrees = func(e encoding.Encoding) bool {
			mode := encoding.SettingOf(e).Mode
			return mode == "fp8" || mode == "fp4" && q.Official.ExpertDType != "fp8"
		}
	case q.Global != nil:
		d.Default = q.Global.String()
		d.Agrees = q.Global.agrees
	}
	for stem, m := range q.Modules {
		d.Modules = append(d.Modules, schema.DeclaredModule{Path: stem, Stem: strings.TrimPrefix(stem, wrapper), Says: m.String(), Agrees: m.agrees})
	}
	slices.SortFunc(d.Modules, func(a, b schema.DeclaredModule) int {
		return strings.Compare(a.Path, b.Path)
	})
	return d
}

// agrees reports whether the setting names the encoding.
func (m ModuleQuant) agrees(e encoding.Encoding) bool {
	return encoding.SettingOf(e) == encoding.Setting{Mode: m.Mode, Bits: m.Bits, Group: m.Group}
}
