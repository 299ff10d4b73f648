package lower

import (
	"slices"
	"strconv"
	"strings"

	"smelt.example/smelt/ir"
	"smelt.example/smelt/ir/text"
)

// kernelName is the region's name without the layer's number and what it
// numbers, with the step kind and the launch's role: layers.3.attn.qkv_a is
// attn_qkv_a_decode. Kernels that differ get a suffix when a bundle collects them.
func (in *Input) kernelName(role string) string {
	var parts []string
	for _, p := range strings.Split(in.Region.Name, ".") {
		if _, err := strconv.Atoi(p); err == nil {
			if len(parts) > 0 {
				parts = parts[:len(parts)-1]
			}
			continue
		}
		parts = append(parts, p)
	}
	if role != "" {
		parts = append(parts, role)
	}
	return strings.Join(append(parts, in.Phase.String()), "_")
}

// doc is a kernel's header comment: what it does, and the operations it
// stands for.
func (in *Input) doc(what ...string) []string {
	lines := append([]string{}, what...)
	lines = append(lines, "", "Stands for (region "+in.Region.Kind+"):")
	for _, n := range in.Module.Nodes[in.Region.From:in.Region.To] {
		lines = append(lines, "  "+text.Node(n))
	}
	return lines
}

// yields reports whether a value of the region is used outside.
func (in *Input) yields(v *ir.Value) bool { return v != nil && slices.Contains(in.Region.Yields, v) }
