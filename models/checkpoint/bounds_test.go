package checkpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/checkpoint/safetensors"
)

// indexOf is an index of n tensors, each in a file of the given name.
func indexOf(n int, name func(i int) string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `%s"t%d":"%s"`, strings.Repeat(",", min(i, 1)), i, name(i))
	}
	return `{"weight_map":{` + b.String() + `}}`
}

// TestManyFiles: an index may name any number of files; the message stays short.
func TestManyFiles(t *testing.T) {
	numbered := func(of int) func(i int) string {
		return func(i int) string { return fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, of) }
	}
	for name, c := range map[string]struct {
		index string
		want  string
	}{
		"more than are opened": {indexOf(100_000, numbered(99_999)), "weight_map names 100000 files, at most 10000 are opened; download it again"},
		"all missing":          {indexOf(9_999, numbered(9_999)), "9999 shards named by"},
		"long names":           {indexOf(5_000, func(i int) string { return strings.Repeat("x", 235) + fmt.Sprint(i) + ".safetensors" }), "5000 shards named by"},
		"names of controls":    {indexOf(500, func(i int) string { return fmt.Sprintf(`\n\u001b[31m%d.safetensors`, i) }), "500 shards named by"},
		"folders above":        {indexOf(20_000, func(i int) string { return fmt.Sprintf("../%d.safetensors", i) }), `may only name .safetensors files beside the index, not "../0.safetensors" (tensor "t0"), `},
		"long names above":     {indexOf(20, func(i int) string { return strings.Repeat("../", 1000) + fmt.Sprint(i) }), "beside the index, not"},
		"one file":             {indexOf(50_000, func(int) string { return "model.safetensors" }), "50000 tensors in the index but not in the shard"},
		"long tensor names":    {strings.ReplaceAll(indexOf(500, func(int) string { return "model.safetensors" }), `"t`, `"`+strings.Repeat(`\u0001`, 3000)), "500 tensors in the index but not in the shard"},
		"every tensor twice":   {`{"weight_map":{"a":"x.safetensors","b":"x.safetensors","a":"x.safetensors"}}`, `weight_map has the key "a" twice`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder{map[string][]safetensors.Out{"model.safetensors": {weight("w", 1)}}, map[string]string{"config.json": "{}", "model.safetensors.index.json": c.index}}.write(t)
			_, err := openAll(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 20_000 || strings.ContainsAny(err.Error(), "\x1b\x01") {
				t.Fatalf("got %.2000v, want %q", err, c.want)
			}
			for line := range strings.Lines(err.Error()) {
				if len(line) > 1000 {
					t.Errorf("a line of %d bytes: %.300s", len(line), line)
				}
			}
		})
	}
}

// TestUnreadKeys: what nobody reads in an index may be anything, and repeat.
func TestUnreadKeys(t *testing.T) {
	const rest = `"weight_map":{"w":"model.safetensors"}`
	deep := strings.Repeat(`{"weight_map":[`, 4000) + strings.Repeat(`]}`, 4000)
	for _, text := range []string{
		`{"Weight_Map":{"w":"x"},` + rest + `}`,
		`{"x":1,"x":2,"metadata":{"total_size":4,"y":1,"y":{}},` + rest + `,"x":"3"}`,
		`{"x":` + deep + `,` + rest + `}`,
		`{"metadata":{"x":` + deep + `},` + rest + `}`,
		`{"metadata":{"TOTAL_SIZE":7,"total_size":4,"Total_Size":[]},` + rest + `}`,
		`{"METADATA":[],"metadata":null,` + rest + `}`,
	} {
		dir := folder{map[string][]safetensors.Out{"model.safetensors": {weight("w", 4)}}, map[string]string{"config.json": "{}", "model.safetensors.index.json": text}}.write(t)
		c, err := openAll(dir)
		if err != nil {
			t.Errorf("%.80s: %.500v", text, err)
			continue
		}
		if len(c.Notes) > 0 {
			t.Errorf("%.80s: notes %.200q", text, c.Notes)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, text := range []string{
		`{"metadata":{},"metadata":{},` + rest + `}`,
		`{` + rest + `,` + rest + `}`,
		`{"metadata":{"total_size":4,"total_size":4},` + rest + `}`,
		`{"weight_map":{"w":"model.safetensors","v":"model.safetensors","\u0077":"model.safetensors"}}`,
		`{"metadata":null,"meta\u0064ata":null,` + rest + `}`,
	} {
		if _, err := parseIndex([]byte(text), ".safetensors"); err == nil || !strings.Contains(err.Error(), "twice") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestTruncatedIndex: an index that ends anywhere says so, with its name.
func TestTruncatedIndex(t *testing.T) {
	dir := folder{twoShards(), map[string]string{"config.json": "{}"}}.write(t)
	path := filepath.Join(dir, "model.safetensors.index.json")
	for n := 1; n < len(goodIndex); n++ {
		if err := os.WriteFile(path, []byte(goodIndex[:n]), 0o666); err != nil {
			t.Fatal(err)
		}
		c, err := openAll(dir)
		if err == nil {
			t.Fatalf("%d bytes: opens, %v", n, c.Close())
		}
		if text := err.Error(); !strings.Contains(text, path+": found n") || !strings.Contains(text, "download it again") || len(text) > len(dir)*3+200 {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

// TestManyWrongFiles: of many damaged files some are listed and the rest counted.
func TestManyWrongFiles(t *testing.T) {
	files := map[string]string{"config.json": "{}"}
	for i := range 300 {
		files[fmt.Sprintf("model-%05d-of-00300.safetensors", i+1)] = "x"
	}
	_, err := Open(folder{nil, files}.write(t))
	if err == nil || !strings.Contains(err.Error(), "300 problems") || !strings.HasSuffix(err.Error(), "and 280 more") {
		t.Errorf("%.3000v", err)
	}
}
