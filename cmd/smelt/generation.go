package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/pflag"

	"smelt/internal/regular"
	"smelt/runtime/sampling"
)

// generationConfig is what generation_config.json suggests for sampling.
type generationConfig struct {
	Sample      *bool
	Temperature *float64
	TopP        *float64
	TopK        *int
	EOS         []int32
}

const maxGenerationConfig = 1 << 20

// readGenerationConfig reads the file in a checkpoint's folder; without one
// everything is unset.
func readGenerationConfig(dir string) (generationConfig, error) {
	var g generationConfig
	path := filepath.Join(dir, "generation_config.json")
	data, err := regular.Read(path, maxGenerationConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return g, nil
	}
	if err != nil {
		return g, err
	}
	if err := g.parse(data); err != nil {
		return generationConfig{}, fmt.Errorf("%s: %w; correct or remove the file", path, err)
	}
	return g, nil
}

func (g *generationConfig) parse(data []byte) error {
	var raw struct {
		Sample      *bool           `json:"do_sample"`
		Temperature *float64        `json:"temperature"`
		TopP        *float64        `json:"top_p"`
		TopK        *int            `json:"top_k"`
		EOS         json.RawMessage `json:"eos_token_id"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return jsonError(err)
	}
	*g = generationConfig{Sample: raw.Sample, Temperature: raw.Temperature, TopP: raw.TopP, TopK: raw.TopK}
	if len(raw.EOS) == 0 || string(raw.EOS) == "null" {
		return g.check()
	}
	var one int32
	if err := json.Unmarshal(raw.EOS, &one); err == nil {
		g.EOS = []int32{one}
	} else if err := json.Unmarshal(raw.EOS, &g.EOS); err != nil {
		return fmt.Errorf("eos_token_id is neither a token id nor a list of them: %.40s", raw.EOS)
	}
	return g.check()
}

// jsonError says in the file's terms which value has the wrong type.
func jsonError(err error) error {
	var wrong *json.UnmarshalTypeError
	switch {
	case !errors.As(err, &wrong):
		return fmt.Errorf("not JSON: %w", err)
	case wrong.Field == "":
		return fmt.Errorf("found a JSON %.40s, expected an object", wrong.Value)
	}
	return fmt.Errorf("%s: found a JSON %.40s, expected %s", wrong.Field, wrong.Value, wrong.Type)
}

// check refuses suggestions that no flag would accept either.
func (g *generationConfig) check() error {
	p := sampling.Greedy()
	g.fill(&p, func(string) bool { return false })
	return p.Validate()
}

// apply puts the suggestions in the place of flags that were not given.
func (g generationConfig) apply(flags *pflag.FlagSet, p *sampling.Params) {
	g.fill(p, flags.Changed)
}

func (g generationConfig) fill(p *sampling.Params, given func(flag string) bool) {
	if g.Sample != nil && !*g.Sample {
		return
	}
	if g.Temperature != nil && !given("temp") {
		p.Temperature = *g.Temperature
	}
	if g.TopP != nil && !given("top-p") {
		p.TopP = *g.TopP
	}
	if g.TopK != nil && !given("top-k") {
		p.TopK = *g.TopK
	}
}
