package smelt

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strings"

	"smelt.example/smelt/internal/imposter"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/internal/strictjson"
	"smelt.example/smelt/runtime/sampling"
)

// generationConfig holds the sampling that generation_config.json suggests.
type generationConfig struct {
	Sample      *bool
	Temperature *float64
	TopP        *float64
	TopK        *int
	EOS         []int32
}

const (
	generationName      = "generation_config.json"
	maxGenerationConfig = 1 << 20
)

// readGenerationConfig reads the file in a checkpoint's folder; without one
// everything is unset.
func readGenerationConfig(dir string) (generationConfig, error) {
	var g generationConfig
	path := filepath.Join(dir, generationName)
	data, err := imposter.Read(path, maxGenerationConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return g, nil
	}
	if errors.As(err, new(*imposter.Error)) {
		err = fmt.Errorf("%w, or remove it", err)
	}
	if err != nil {
		return g, err
	}
	if err := g.parse(data); err != nil {
		return generationConfig{}, fmt.Errorf("%s: %w; correct or remove the file", path, err)
	}
	return g, nil
}

// parse reads the file's content. Keys of other engines may hold anything.
func (g *generationConfig) parse(data []byte) error {
	var out strictjson.Findings
	if top := strictjson.ParseObject(data, &out); top != nil {
		*g = generationConfig{
			Sample:      optional(top.Boolean("do_sample")),
			Temperature: optional(top.Number("temperature", strictjson.AtLeast(0), strictjson.AtMost(pick.MaxTemperature))),
			TopP:        optional(top.Number("top_p", strictjson.Above(0), strictjson.AtMost(1))),
			TopK:        optional(top.Integer("top_k", 0, pick.MaxTopK)),
		}
		for _, id := range top.Integers("eos_token_id", -1, math.MaxInt32) {
			g.EOS = append(g.EOS, int32(id))
		}
	}
	if list := out.List(); len(list) > 0 {
		return errors.New(strings.Join(list[:min(len(list), 10)], "; "))
	}
	return g.check()
}

// optional is a pointer to a value that is there.
func optional[T any](v T, ok bool) *T {
	if !ok {
		return nil
	}
	return &v
}

// check refuses suggestions that nobody could sample with.
func (g *generationConfig) check() error {
	p := sampling.Greedy()
	g.fill(&p)
	return p.Validate()
}

// fill puts the suggestions into parameters.
func (g *generationConfig) fill(p *sampling.Params) {
	if g.Sample != nil && !*g.Sample {
		return
	}
	if g.Temperature != nil {
		p.Temperature = *g.Temperature
	}
	if g.TopP != nil {
		p.TopP = *g.TopP
	}
	if g.TopK != nil {
		p.TopK = *g.TopK
	}
}
