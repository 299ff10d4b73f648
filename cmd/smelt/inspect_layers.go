package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/passes/fusion"
	"smelt.example/smelt/ir"
)

// layerKind is the layers that are alike in what their regions do.
type layerKind struct {
	Kind   string   `json:"kind"`
	Layers []string `json:"layers"` // empty for what is outside layers
	// DispatchesMin and DispatchesMax are of one layer; outside layers of all.
	DispatchesMin int   `json:"dispatches_min"`
	DispatchesMax int   `json:"dispatches_max"`
	Bytes         int64 `json:"bytes"` // of all these layers, see costNumbers
	Flops         int64 `json:"flops"`
}

// layerKinds groups a step's dispatches by what layers have. Layers come from
// the numbers in regions' names, and a kind is named by the traits that tell
// it from others.
func layerKinds(b *bundle.Bundle, dispatches []dispatchCost) ([]layerKind, error) {
	traits, err := layerTraits(b.Module)
	if err != nil {
		return nil, err
	}
	shared := sharedTraits(traits)
	kinds := []layerKind{}
	place := map[string]int{} // of a kind in kinds
	for _, layer := range layersOf(dispatches) {
		name := "outside layers"
		if layer != "" {
			name = kindName(traits[layer], shared)
		}
		at, known := place[name]
		if !known {
			at = len(kinds)
			place[name] = at
			kinds = append(kinds, layerKind{Kind: name, Layers: []string{}})
		}
		kinds[at].add(layer, dispatches)
	}
	return kinds, nil
}

// add counts a layer's dispatches.
func (k *layerKind) add(layer string, dispatches []dispatchCost) {
	n := 0
	for _, d := range dispatches {
		if d.Layer == layer {
			n++
			k.Bytes += d.Bytes
			k.Flops += d.Flops
		}
	}
	if k.DispatchesMax == 0 || n < k.DispatchesMin {
		k.DispatchesMin = n
	}
	k.DispatchesMax = max(k.DispatchesMax, n)
	if layer != "" {
		k.Layers = append(k.Layers, layer)
	}
}

// layersOf lists the layers in the order of their first dispatch, what is
// outside layers ("") last.
func layersOf(dispatches []dispatchCost) []string {
	var layers []string
	outside := false
	for _, d := range dispatches {
		switch {
		case d.Layer == "":
			outside = true
		case !slices.Contains(layers, d.Layer):
			layers = append(layers, d.Layer)
		}
	}
	if outside {
		layers = append(layers, "")
	}
	return layers
}

// layerTraits says what each layer has: its kinds of regions, and entries that
// its attention looks at beside the window.
func layerTraits(m *ir.Module) (map[string]map[string]bool, error) {
	traits := map[string]map[string]bool{}
	for _, r := range m.Regions {
		layer, _ := splitLayer(r.Name)
		if layer == "" {
			continue
		}
		if traits[layer] == nil {
			traits[layer] = map[string]bool{}
		}
		traits[layer][r.Kind] = true
		if r.Kind == fusion.KindAttention.Name {
			a, err := fusion.KindAttention.View(m, r)
			if err != nil {
				return nil, fmt.Errorf("region @%s: %w", r.Name, err)
			}
			if a.Entries != "" {
				traits[layer]["entries"] = true
			}
		}
	}
	return traits, nil
}

// sharedTraits are those that all layers have.
func sharedTraits(traits map[string]map[string]bool) map[string]bool {
	count := map[string]int{}
	for _, of := range traits {
		for t := range of {
			count[t]++
		}
	}
	shared := map[string]bool{}
	for t, n := range count {
		shared[t] = n == len(traits)
	}
	return shared
}

// kindName names a layer by what not all layers have, and always by what its
// attention looks at. A choice of entries implies entries.
func kindName(traits, shared map[string]bool) string {
	var has []string
	for _, t := range slices.Sorted(maps.Keys(traits)) {
		entries := t == "entries"
		if entries && !traits[fusion.KindIndexTopK.Name] || !entries && !shared[t] {
			has = append(has, t)
		}
	}
	switch {
	case len(has) > 0:
		return "with " + strings.Join(has, " and ")
	case !traits["entries"] && traits[fusion.KindAttention.Name]:
		return "window only"
	}
	return "alike"
}

// layers prints the layers by kind.
func (p *page) layers(kinds []layerKind) {
	p.heading("Layers")
	t := table{columns: []column{{"", false}, {"layers", true}, {"dispatches each", true}, {"bytes", true}, {"operations", true}}}
	for _, k := range kinds {
		each, layers := grouped(k.DispatchesMin), ""
		if k.DispatchesMax != k.DispatchesMin {
			each += " to " + grouped(k.DispatchesMax)
		}
		if len(k.Layers) > 0 {
			layers = grouped(len(k.Layers))
		}
		t.add(k.Kind, layers, each, bytesInWords(k.Bytes), grouped(k.Flops))
	}
	p.table(&t)
}
