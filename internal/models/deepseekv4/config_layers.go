package deepseekv4

import (
	"fmt"

	"smelt.example/smelt/internal/strictjson"
)

// Names HF transformers gives the kinds of layers, and the ratios they stand for.
const (
	slidingLayer = "sliding_attention"
	sparseLayer  = "compressed_sparse_attention"
	heavyLayer   = "heavily_compressed_attention"
)

func ratioOfKind(kind string) (ratio int, ok bool) {
	switch kind {
	case slidingLayer:
		return 0, true
	case sparseLayer:
		return 4, true
	case heavyLayer:
		return 128, true
	}
	return 0, false
}

// readLayers reads the layer pattern, the hash layers and, where a layer needs
// it, the indexer.
func readLayers(top *strictjson.Object, c *Config) {
	c.MTPLayers, _ = top.Integer("num_nextn_predict_layers", 0, maxLayers)
	listed := readRatios(top, c)
	named := readLayerTypes(top, c)
	switch {
	case listed != nil && named != nil:
		for i := range min(len(listed), len(named)) {
			if listed[i] != named[i] {
				top.Wrong(fmt.Sprintf("compress_ratios[%d]", i), text(listed[i]), fmt.Sprintf("%d, as layer_types has it", named[i]))
			}
		}
		c.Ratios = listed
	case listed != nil:
		c.Ratios = listed
	case named != nil:
		c.Ratios = named
		c.MTPRatios = make([]int, c.MTPLayers)
	case !top.Has("compress_ratios") && !top.Has("layer_types"):
		top.Missing("compress_ratios (or layer_types)")
	}
	readCompressRates(top)
	readHashLayers(top, c)
	readIndexer(top, c)
}

// readRatios reads compress_ratios, splits the draft stages' entries off into c
// and returns the layers' part, nil if there is none to use.
func readRatios(top *strictjson.Object, c *Config) []int {
	elements, ok := top.List("compress_ratios")
	if !ok || c.Layers == 0 {
		return nil
	}
	if len(elements) < c.Layers {
		top.Wrong("compress_ratios", fmt.Sprintf("%d entries", len(elements)),
			fmt.Sprintf("num_hidden_layers (%d), or more if draft stages follow", c.Layers))
		return nil
	}
	ratios, sound := make([]int, len(elements)), true
	for i, e := range elements {
		key := fmt.Sprintf("compress_ratios[%d]", i)
		r, ok := top.Whole(key, e, 0, maxPositions)
		if ok && r != 0 && r != 4 && r != 128 {
			top.Wrong(key, text(r), "0, 4 or 128")
			ok = false
		}
		ratios[i] = r
		sound = sound && ok
	}
	if !sound {
		return nil
	}
	if !readDraftRatios(top, c, ratios[c.Layers:]) {
		return nil
	}
	return ratios[:c.Layers:c.Layers]
}

// readLayerTypes reads transformers' spelling of the layer pattern, nil if
// there is none to use.
func readLayerTypes(top *strictjson.Object, c *Config) []int {
	kinds, ok := top.Words("layer_types")
	if !ok || !hasLength(top, c, "layer_types", len(kinds)) {
		return nil
	}
	ratios := make([]int, len(kinds))
	for i, kind := range kinds {
		r, ok := ratioOfKind(kind)
		if !ok {
			top.Wrong(fmt.Sprintf("layer_types[%d]", i), quoted(kind), strictjson.OneOf([]string{slidingLayer, sparseLayer, heavyLayer}))
			return nil
		}
		ratios[i] = r
	}
	return ratios
}

func hasLength(top *strictjson.Object, c *Config, key string, n int) bool {
	if c.Layers == 0 {
		return false
	}
	if n != c.Layers {
		top.Wrong(key, fmt.Sprintf("%d entries", n), fmt.Sprintf("num_hidden_layers, which is %d", c.Layers))
		return false
	}
	return true
}

// readCompressRates checks transformers' rates, which may only repeat what the
// kinds of layers mean: overlap and indexer belong to ratio 4.
func readCompressRates(top *strictjson.Object) {
	if rates := top.Object("compress_rates"); rates != nil {
		for _, kind := range []string{sparseLayer, heavyLayer} {
			r, _ := ratioOfKind(kind)
			rates.Integer(kind, r, r)
		}
	}
	top.Integer("compress_rate_csa", 4, 4)
	top.Integer("compress_rate_hca", 128, 128)
}

// readHashLayers reads num_hash_layers or transformers' mlp_layer_types.
func readHashLayers(top *strictjson.Object, c *Config) {
	n, counted := top.Integer("num_hash_layers", 0, maxLayers)
	kinds, named := top.Words("mlp_layer_types")
	if !top.Has("num_hash_layers") && !top.Has("mlp_layer_types") {
		top.Missing("num_hash_layers (or mlp_layer_types)")
	}
	if counted {
		c.HashLayers = n
		if c.Layers > 0 && n > c.Layers {
			top.Wrong("num_hash_layers", text(n), fmt.Sprintf("at most num_hidden_layers, which is %d", c.Layers))
		}
	}
	if !named || !hasLength(top, c, "mlp_layer_types", len(kinds)) {
		return
	}
	hashed := 0
	for i, kind := range kinds {
		switch {
		case kind == "hash_moe" && hashed == i:
			hashed++
		case kind == "hash_moe":
			top.Wrong(fmt.Sprintf("mlp_layer_types[%d]", i), quoted(kind), `"moe": hash layers come first, and layer `+text(hashed)+" is not one")
			return
		case kind != "moe":
			top.Wrong(fmt.Sprintf("mlp_layer_types[%d]", i), quoted(kind), strictjson.OneOf([]string{"hash_moe", "moe"}))
			return
		}
	}
	if counted && n != hashed {
		top.Wrong("num_hash_layers", text(n), fmt.Sprintf("%d, as mlp_layer_types has it", hashed))
	}
	c.HashLayers = hashed
}

// readIndexer reads the indexer's sizes, needed only by ratio-4 layers.
func readIndexer(top *strictjson.Object, c *Config) {
	read := func(key string, lo, hi int) int {
		n, _ := top.Integer(key, lo, hi)
		return n
	}
	if c.HasRatio(4) {
		read = top.NeedInteger
	}
	c.IndexHeads = read("index_n_heads", 1, maxHeads)
	c.IndexDim = read("index_head_dim", 2, maxWidth)
	c.IndexTopK = read("index_topk", 1, maxPositions)
}
