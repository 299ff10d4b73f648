package deepseekv4

import (
	"fmt"
	"strconv"

	"smelt.example/smelt/internal/strictjson"
)

// Tools that prune experts layer by layer keep n_routed_experts as it was, or set it to
// what most layers keep, and list all counts under expertsKey: at the top, or in their
// record of the pruning.
const (
	expertsKey = "n_routed_experts_per_layer"
	recordKey  = "reap_pruning"
)

// readLayerExperts reads what config.json says of single layers' experts. The router
// weights have the last word (countExperts).
func readLayerExperts(top *strictjson.Object, c *Config) {
	if c.Layers == 0 {
		return
	}
	said := expertsByLayer(top, c)
	if top.Kind(recordKey) == '{' {
		if record := top.Object(recordKey); record != nil {
			listed := expertsByLayer(record, c)
			record.Know(record.Rest()...) // where the counts come from
			said = agreed(record, said, listed)
		}
	}
	c.LayerExperts = said
}

// expertsByLayer reads a list of counts, or an object of counts by layer. A layer of
// which it says nothing has 0; nil is nothing of any.
func expertsByLayer(o *strictjson.Object, c *Config) []int {
	if o.Kind(expertsKey) == '{' {
		return expertsByNumber(o.Object(expertsKey), c)
	}
	elements, ok := o.List(expertsKey)
	if !ok {
		return nil
	}
	if len(elements) < c.Layers {
		o.Wrong(expertsKey, fmt.Sprintf("%d entries", len(elements)), fmt.Sprintf("num_hidden_layers, which is %d, or more for MTP blocks", c.Layers))
		return nil
	}
	counts := make([]int, c.Layers)
	for l := range counts {
		counts[l] = layerCount(o, fmt.Sprintf("%s[%d]", expertsKey, l), func(key string) (int, bool) {
			return o.Whole(key, elements[l], 1, maxExperts)
		}, c)
	}
	return counts
}

// expertsByNumber is expertsByLayer of an object. Numbers from num_hidden_layers on are
// those of MTP blocks.
func expertsByNumber(o *strictjson.Object, c *Config) []int {
	if o == nil {
		return nil
	}
	counts := make([]int, c.Layers)
	for _, key := range o.Rest() {
		l, err := strconv.Atoi(key)
		if err != nil || l < 0 || strconv.Itoa(l) != key {
			o.Know(key)
			o.Wrong(key, "that key", "the number of a layer")
			continue
		}
		n := layerCount(o, key, func(key string) (int, bool) { return o.Integer(key, 1, maxExperts) }, c)
		if l < c.Layers {
			counts[l] = n
		}
	}
	return counts
}

// layerCount reads one count, which a token's experts must fit in.
func layerCount(o *strictjson.Object, key string, read func(key string) (int, bool), c *Config) int {
	n, ok := read(key)
	if ok && n < c.ExpertsPerToken {
		o.Wrong(key, text(n), fmt.Sprintf("num_experts_per_tok, which is %d, or more", c.ExpertsPerToken))
	}
	return n
}

// agreed joins two lists, of which the second is o's.
func agreed(o *strictjson.Object, a, b []int) []int {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	for l := range a {
		switch {
		case a[l] == 0:
			a[l] = b[l]
		case b[l] != 0 && a[l] != b[l]:
			o.Wrong(expertsKey, fmt.Sprintf("%d for layer %d", b[l], l), fmt.Sprintf("%d, as %s has it", a[l], expertsKey))
		}
	}
	return a
}
