package deepseekv4

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/schema"
	"smelt.example/smelt/models/checkpoint"
)

// countExperts sets LayerExperts where the rows of router weights are fewer than
// the configuration's experts: a pruned checkpoint keeps a number of its own in each
// layer. Where a router is not found the configuration's number stands, and Bind
// reports it. Layers with fewer experts than a token uses, or more than the
// configuration says, are refused in a *checkpoint.Findings. It returns a line for
// each pruned layer.
func (c *Config) countExperts(ck *checkpoint.Checkpoint) (pruned []string, err error) {
	routers := make([]string, c.Layers)
	for l := range routers {
		routers[l] = fmt.Sprintf("layers.%d.ffn.gate.weight", l)
	}
	counts := slices.Repeat([]int{c.Experts}, c.Layers)
	var bad []string
	layout := schema.Recognise(Layouts(), ck.Tensors())
	if layout == nil {
		return nil, nil // which Bind reports
	}
	for l, name := range routers {
		router := layout.Matrix(ck.Lookup, name)
		if router == nil {
			continue
		}
		rows, where := router.Shape[0], fmt.Sprintf("%s (%s)", router, filepath.Base(router.File.Path()))
		if rows < int64(c.ExpertsPerToken) || rows > int64(c.Experts) {
			bad = append(bad, fmt.Sprintf("layer %d: the router weights %s have %s, expected num_experts_per_tok (%d) to n_routed_experts (%d)",
				l, where, message.Count(rows, "row"), c.ExpertsPerToken, c.Experts))
			continue
		}
		counts[l] = int(rows)
		if counts[l] != c.Experts {
			pruned = append(pruned, fmt.Sprintf("layer %d: %d of %d experts, by the router weights %s", l, rows, c.Experts, where))
		}
	}
	if pruned != nil {
		c.LayerExperts = counts
		c.noteExperts()
	}
	findings := &checkpoint.Findings{Path: ck.Dir}
	findings.AddEach("layer", "with fewer experts than a token uses, or more than config.json says", "config.json belongs to another checkpoint, or too many experts were pruned", bad)
	return pruned, findings.Err()
}

// noteExperts says which layers were pruned, and to how many experts.
func (c *Config) noteExperts() {
	layers := map[int][]string{} // by how many experts they have
	for l, n := range c.LayerExperts {
		if n != c.Experts {
			layers[n] = append(layers[n], text(l))
		}
	}
	for _, n := range slices.Sorted(maps.Keys(layers)) {
		noun := "layers"
		if len(layers[n]) == 1 {
			noun = "layer"
		}
		c.Notes = append(c.Notes, fmt.Sprintf("%s %s: %d of %d experts, by the router weights", noun, strings.Join(layers[n], ", "), n, c.Experts))
	}
}
