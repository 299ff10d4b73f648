package deepseekv4

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/schema"
	"smelt.example/smelt/models/checkpoint"
)

// ExpertsOf is how many routed experts a layer has.
func (c *Config) ExpertsOf(layer int) int {
	if c.LayerExperts == nil {
		return c.Experts
	}
	return cmp.Or(c.LayerExperts[layer], c.Experts)
}

// countExperts sets LayerExperts by the rows of the router weights: a pruned
// checkpoint keeps a number of its own in each layer, and n_routed_experts is that of
// the original, or of some layers. Where a router is not found the configuration's
// number stands, and Bind reports it. Layers whose number cannot be are refused in a
// *checkpoint.Findings. It returns a line for each layer that has another number than
// n_routed_experts.
func (c *Config) countExperts(ck *checkpoint.Checkpoint) (sized []string, err error) {
	layout := schema.Recognise(Layouts(), ck.Tensors())
	if layout == nil {
		return nil, nil // which Bind reports
	}
	n := expertCounter{cfg: c, counts: make([]int, c.Layers), where: make([]string, c.Layers)}
	for l := range c.Layers {
		n.counts[l] = c.ExpertsOf(l)
		if router := layout.Matrix(ck.Lookup, fmt.Sprintf("layers.%d.ffn.gate.weight", l)); router != nil {
			n.counts[l] = int(router.Shape[0])
			n.where[l] = fmt.Sprintf("%s (%s)", router, filepath.Base(router.File.Path()))
		}
	}
	findings := &checkpoint.Findings{Path: ck.Dir}
	n.check(findings)
	if err := findings.Err(); err != nil {
		return nil, err
	}
	c.LayerExperts = nil
	if slices.ContainsFunc(n.counts, func(have int) bool { return have != c.Experts }) {
		c.LayerExperts = n.counts
		c.Notes = append(c.Notes, n.note())
	}
	return n.sized(), nil
}

// expertCounter has each layer's experts, and the router weights that say so.
type expertCounter struct {
	cfg    *Config
	counts []int
	where  []string // empty for a layer without router weights
}

// check refuses counts that a token's experts do not fit in, that contradict
// config.json's own list, or that are above n_routed_experts where no layer has that
// number: it is of another checkpoint then.
func (n *expertCounter) check(findings *checkpoint.Findings) {
	c := n.cfg
	var few, contrary, above []string
	for l, have := range n.counts {
		if n.where[l] == "" {
			continue
		}
		found := fmt.Sprintf("layer %d: the router weights %s have %s", l, n.where[l], message.Count(have, "row"))
		said := 0
		if c.LayerExperts != nil {
			said = c.LayerExperts[l]
		}
		switch {
		case have < c.ExpertsPerToken:
			few = append(few, fmt.Sprintf("%s, expected num_experts_per_tok (%d) or more", found, c.ExpertsPerToken))
		case said != 0 && said != have:
			contrary = append(contrary, fmt.Sprintf("%s, expected %d", found, said))
		case have > maxExperts:
			above = append(above, fmt.Sprintf("%s, expected %d or fewer", found, maxExperts))
		case said == 0 && have > c.Experts && !slices.Contains(n.counts, c.Experts):
			above = append(above, fmt.Sprintf("%s, expected n_routed_experts (%d) or fewer", found, c.Experts))
		}
	}
	findings.AddEach("layer", "with fewer experts than a token uses", "too many experts were pruned, or config.json belongs to another checkpoint", few)
	findings.AddEach("layer", "with another number of experts than "+expertsKey+" of config.json says", "config.json belongs to another checkpoint", contrary)
	findings.AddEach("layer", "with more experts than config.json says", "config.json belongs to another checkpoint", above)
}

// sized says which layers have another number than n_routed_experts, and where from.
func (n *expertCounter) sized() (lines []string) {
	for l, have := range n.counts {
		if have != n.cfg.Experts && n.where[l] != "" {
			lines = append(lines, fmt.Sprintf("layer %d: %s, by the router weights %s; n_routed_experts is %d", l, message.Count(have, "expert"), n.where[l], n.cfg.Experts))
		}
	}
	return lines
}

// maxCounts is how many different counts a note spells out.
const maxCounts = 8

// note says how many experts which layers have.
func (n *expertCounter) note() string {
	layers := map[int][]int{} // by how many experts they have
	for l, have := range n.counts {
		layers[have] = append(layers[have], l)
	}
	counts := slices.Sorted(maps.Keys(layers))
	var parts []string
	for _, have := range slices.Backward(counts) {
		noun := "layers"
		if len(layers[have]) == 1 {
			noun = "layer"
		}
		parts = append(parts, fmt.Sprintf("%d in %s %s", have, noun, message.Ranges(layers[have])))
	}
	if len(counts) > maxCounts {
		parts = []string{fmt.Sprintf("%d to %d", counts[0], counts[len(counts)-1])}
	}
	return fmt.Sprintf("routed experts by the router weights: %s; n_routed_experts is %d", strings.Join(parts, "; "), n.cfg.Experts)
}
