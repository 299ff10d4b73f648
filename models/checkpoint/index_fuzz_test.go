package checkpoint

import (
	"path/filepath"
	"slices"
	"testing"
)

// FuzzIndex: no index panics, and one that is accepted names each tensor once
// and only files in its own folder.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(goodIndex))
	f.Add([]byte(`{"weight_map":{}}`))
	f.Add([]byte(`{"weight_map":{"a":"\u0061.safetensors","b":"a.safetensors"},"metadata":{"total_size":-1e400}}`))
	f.Add([]byte(`{"weight_map":{"a":"../a.safetensors"}}`))
	f.Add([]byte(`{"metadata":[{}],"weight_map":null}x`))
	f.Add([]byte("\xef\xbb\xbf" + `{"x":[NaN,"\ud83d"],"weight_map":{"a":"a.safetensors","b":-Infinity}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := slices.Clone(raw)
		x, err := parseIndex(raw, ".safetensors")
		if !slices.Equal(raw, before) {
			t.Fatal("the index was modified")
		}
		if err != nil {
			if x != nil || err.Error() == "" || len(err.Error()) > 20<<10 {
				t.Fatalf("index %v with an error of %d bytes", x, len(err.Error()))
			}
			return
		}
		for i, e := range x.entries {
			if i > 0 && x.entries[i-1].tensor >= e.tensor {
				t.Fatalf("%q follows %q", e.tensor, x.entries[i-1].tensor)
			}
			if !slices.Contains(x.shards, e.shard) {
				t.Fatalf("%q is not among the shards %q", e.shard, x.shards)
			}
		}
		for i, shard := range x.shards {
			if !filepath.IsLocal(shard) || filepath.Base(shard) != shard || i > 0 && x.shards[i-1] >= shard {
				t.Fatalf("shards %q", x.shards)
			}
		}
	})
}
