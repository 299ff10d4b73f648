package checkpoint

import (
	"fmt"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/checkpoint/safetensors"
)

// BenchmarkOpen opens a folder with as many tensors and shards as V4-Flash
// has, of one byte each, names as long as there.
func BenchmarkOpen(b *testing.B) {
	const shards, each = 32, 2162
	in := folder{map[string][]safetensors.Out{}, map[string]string{"config.json": "{}"}}
	var index []string
	for s := range shards {
		file := fmt.Sprintf("model-%05d-of-%05d.safetensors", s+1, shards)
		for i := range each {
			name := fmt.Sprintf("layers.%d.ffn.experts.%d.w%d.weight", s, i/3, i%3+1)
			in.weights[file] = append(in.weights[file], weight(name, 1))
			index = append(index, fmt.Sprintf("%q: %q", name, file))
		}
	}
	in.files["model.safetensors.index.json"] = `{"weight_map": {` + strings.Join(index, ", ") + `}}`
	dir := in.write(b)
	b.ReportAllocs()
	for b.Loop() {
		c, err := Open(dir)
		if err != nil || len(c.Tensors()) != shards*each {
			b.Fatal(err)
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
