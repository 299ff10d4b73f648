package synthetic

import (
	"fmt"
	"strconv"
	"strings"

	"smelt.example/smelt/internal/models/deepseekv4"
)

// layerKind is what tells which weights a layer has.
type layerKind struct {
	ratio, experts int
	hashed         bool
}

func kindOf(cfg *deepseekv4.Config, layer int) layerKind {
	return layerKind{cfg.Ratios[layer], cfg.ExpertsOf(layer), layer < cfg.HashLayers}
}

// shared lays out the first o.Stored of the layers, and has the others stand on them:
// their parameters are views of the same bytes, as published checkpoints may have them.
func shared(name string, config []byte, o Options) (*Checkpoint, error) {
	whole, err := adapt(name, config, o)
	if err != nil {
		return nil, err
	}
	cfg, err := deepseekv4.ParseConfig(whole, name)
	if err != nil {
		return nil, err
	}
	on, err := standing(cfg, o.Stored)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	graph, err := deepseekv4.Graph(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: the sizes do not make a graph: %w", name, err)
	}
	less := o
	if len(less.Layers) == 0 {
		less.Layers = First(cfg.Layers)
	}
	less.Layers, less.Stored = less.Layers[:o.Stored], 0
	c, err := New(name, config, less)
	if err != nil {
		return nil, err
	}
	stored := c.Model
	if c.Model, err = stored.Standing(graph, func(param string) string { return standsOn(param, on) }); err != nil {
		return nil, fmt.Errorf("%w; closing: %w", err, stored.Close())
	}
	return c, nil
}

// standing is the stored layer that each layer stands on: its own, or those of its kind in
// turn.
func standing(cfg *deepseekv4.Config, stored int) ([]int, error) {
	if stored > cfg.Layers {
		return nil, fmt.Errorf("%d layers are to be stored of %d", stored, cfg.Layers)
	}
	kinds := map[layerKind][]int{}
	on := make([]int, cfg.Layers)
	next := map[layerKind]int{}
	for layer := range on {
		kind := kindOf(cfg, layer)
		if layer < stored {
			kinds[kind] = append(kinds[kind], layer)
			on[layer] = layer
			continue
		}
		same := kinds[kind]
		if len(same) == 0 {
			return nil, fmt.Errorf("layer %d (one entry for %d tokens, %d experts, by token %v) has no stored layer of its kind to stand on; store at least %d layers", layer, kind.ratio, kind.experts, kind.hashed, layer+1)
		}
		on[layer] = same[next[kind]%len(same)]
		next[kind]++
	}
	return on, nil
}

// standsOn is a parameter's or tensor's name with the number of the layer that its own
// stands on.
func standsOn(name string, on []int) string {
	const layers = "layers."
	at := strings.Index(name, layers)
	if at < 0 {
		return name
	}
	before, rest := name[:at+len(layers)], name[at+len(layers):]
	number, rest, _ := strings.Cut(rest, ".")
	layer, err := strconv.Atoi(number)
	if err != nil || layer >= len(on) {
		return name
	}
	return before + strconv.Itoa(on[layer]) + "." + rest
}
