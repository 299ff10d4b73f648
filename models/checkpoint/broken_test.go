package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/checkpoint/safetensors"
)

// TestBrokenFolders: each folder has one fault and gives one finding that
// names the culprit.
func TestBrokenFolders(t *testing.T) {
	const indexFile = "model.safetensors.index.json"
	both := twoShards()
	only := func(names ...string) map[string][]safetensors.Out {
		m := map[string][]safetensors.Out{}
		for _, name := range names {
			m[name] = both[name]
			if m[name] == nil {
				m[name] = []safetensors.Out{weight("x", 1)}
			}
		}
		return m
	}
	with := func(index string) map[string]string {
		return map[string]string{"config.json": "{}", indexFile: index}
	}
	config := map[string]string{"config.json": "{}"}
	mapTo := func(file string) string { return `{"weight_map":{"a":"` + file + `"}}` }
	edit := func(old, new string) string { return strings.Replace(goodIndex, old, new, 1) }

	tests := []struct {
		name string
		in   folder
		path string
		want []string
	}{
		{"no such folder", folder{}, "none", []string{"none", "no such file"}},
		{"a file of another type", folder{nil, config}, "config.json", []string{"neither a folder nor a .safetensors file", "give the folder"}},
		{"one shard by its path", folder{both, config}, shard2, []string{"shard 2 of 2", "give its folder"}},
		{"no config", folder{only("model.safetensors"), nil}, "", []string{"no config.json in", "download"}},
		{"empty config", folder{only("model.safetensors"), map[string]string{"config.json": ""}}, "", []string{"config.json is empty"}},
		{"config too long", folder{only("model.safetensors"), map[string]string{"config.json": strings.Repeat(" ", 16<<20+1)}}, "", []string{"config.json has 16777217 bytes (16.0 MiB), expected at most 16777216 bytes (16.0 MiB)"}},
		{"only a config", folder{nil, config}, "", []string{"looked for model.safetensors.index.json, model.safetensors and", "the folder has:", "config.json"}},
		{"another format", folder{nil, map[string]string{"config.json": "{}", "model.gguf": "GGUF"}}, "", []string{"no weights", "model.gguf"}},
		{"another file name", folder{only("weights.safetensors"), config}, "", []string{"no weights", "weights.safetensors", "path of a single .safetensors file"}},
		{"shard missing without index", folder{only(shard2), config}, "", []string{"1 shard missing", shard1}},
		{"shard numbered zero", folder{only("model-00000-of-00002.safetensors"), config}, "", []string{"no weights", "model-00000-of-00002"}},
		{"two sets of shards", folder{only(shard1, shard2, "model-00001-of-00003.safetensors"), config}, "", []string{"several sets of weights", shard1, "model-00001-of-00003"}},
		{"shards and a whole", folder{only(shard1, shard2, "model.safetensors"), config}, "", []string{"several sets of weights", "model.safetensors"}},
		{"damaged file", folder{nil, map[string]string{"config.json": "{}", "model.safetensors": "\x02\x00\x00\x00\x00\x00\x00\x00{}?"}}, "", []string{"model.safetensors: no tensor covers 1 byte"}},
		{"same tensor in two shards", folder{map[string][]safetensors.Out{shard1: {weight("a", 1)}, shard2: {weight("a", 1)}}, config}, "", []string{`1 tensor in two files`, `"a" in ` + shard1 + " and " + shard2}},
		{"same tensor in two shards, the index names neither", folder{map[string][]safetensors.Out{shard1: {weight("a", 1), weight("b", 1)}, shard2: {weight("a", 1), weight("c", 1)}, "z.safetensors": {weight("z", 1)}},
			with(`{"weight_map":{"a":"z.safetensors","b":"` + shard1 + `","c":"` + shard2 + `","z":"z.safetensors"}}`)}, "", []string{`"a" in ` + shard1 + " and " + shard2, "correct the index, which places it in neither"}},
		{"same tensor beside a checkpoint", folder{map[string][]safetensors.Out{"model.safetensors": {weight("a", 1), weight("b", 1)}, "overlay.safetensors": {weight("b", 1)}}, config}, "",
			[]string{`1 tensor in two files, and no ` + indexFile + " to say which counts", `"b" in model.safetensors and overlay.safetensors`, "give the path of a single file"}},
		{"same tensor beside shards", folder{map[string][]safetensors.Out{shard1: {weight("a", 1)}, shard2: {weight("b", 1)}, "model-overlay-00001.safetensors": {weight("b", 1), weight("c", 1)}}, config}, "",
			[]string{`"b" in ` + shard2 + " and model-overlay-00001.safetensors"}},

		{"index empty", folder{both, with("")}, "", []string{indexFile + " is empty; download the file again"}},
		{"index cut", folder{both, with(goodIndex[:90])}, "", []string{indexFile + ": found no valid JSON: the text ends too early; download it again"}},
		{"index no JSON", folder{both, with("{'a':1}")}, "", []string{"no valid JSON at byte 1"}},
		{"index a list", folder{both, with("[]")}, "", []string{"the index is an array, expected an object"}},
		{"index twice", folder{both, with(goodIndex + goodIndex)}, "", []string{"a second JSON value follows"}},
		{"index without map", folder{both, with(`{"metadata":{}}`)}, "", []string{"weight_map is missing"}},
		{"index with empty map", folder{both, with(`{"weight_map":{}}`)}, "", []string{"weight_map of " + indexFile + " is empty"}},
		{"map a list", folder{both, with(`{"weight_map":[]}`)}, "", []string{"weight_map is an array, expected an object"}},
		{"metadata a list", folder{both, with(`{"metadata":[],"weight_map":{}}`)}, "", []string{"metadata is an array, expected an object"}},
		{"map to a number", folder{both, with(`{"weight_map":{"a":1}}`)}, "", []string{`weight_map["a"] is a number`}},
		{"tensor twice in the index", folder{both, with(edit(`"b":`, `"a":`))}, "", []string{`weight_map has the key "a" twice`}},
		{"map twice", folder{both, with(`{"weight_map":{},"weight_map":{}}`)}, "", []string{`the index has the key "weight_map" twice`}},
		{"path upwards", folder{both, with(mapTo("../x.safetensors"))}, "", []string{`"../x.safetensors" (tensor "a")`, "beside the index"}},
		{"absolute path", folder{both, with(mapTo("/x.safetensors"))}, "", []string{`"/x.safetensors"`}},
		{"path of another system", folder{both, with(mapTo(`..\\x.safetensors`))}, "", []string{`"..\\x.safetensors"`}},
		{"subfolder", folder{both, with(mapTo("a/x.safetensors"))}, "", []string{`"a/x.safetensors"`}},
		{"other suffix", folder{both, with(mapTo("pytorch_model.bin"))}, "", []string{`"pytorch_model.bin"`}},
		{"empty file name", folder{both, with(mapTo(""))}, "", []string{`"" (tensor "a")`}},
		{"hidden file", folder{both, with(mapTo("..safetensors"))}, "", []string{`"..safetensors"`}},

		{"shard missing", folder{only(shard1), with(goodIndex)}, "", []string{"1 shard named by " + indexFile + " not in the folder", shard2, "download"}},
		{"all shards missing, a whole there", folder{only("model.safetensors"), with(goodIndex)}, "", []string{"2 shards", shard1, shard2, "or remove " + indexFile + " to use model.safetensors"}},
		{"shard not named", folder{only(shard1, shard2), with(`{"weight_map":{"b":"` + shard1 + `","d":"` + shard1 + `"}}`)}, "", []string{"1 shard of the same set not named by", shard2}},
		{"tensor not in its shard", folder{both, with(edit(`"a":`, `"a0":"`+shard1+`","a":`))}, "", []string{"1 tensor in the index but not in the shard", `"a0" in ` + shard1}},
		{"tensor not in the index", folder{both, with(edit(`"a":"`+shard2+`",`, ""))}, "", []string{"1 tensor in a shard but not in the index", `"a" in ` + shard2}},
		{"shard missing, an older copy there", folder{both, with(edit(`"b":"`+shard1, `"b":"`+overlayFile))}, "", []string{"1 tensor in another shard than the index says", `"b" in ` + overlayFile + " (not in the folder), found in " + shard1}},
		{"tensor in another shard", folder{both, with(edit(`"b":"`+shard1, `"b":"`+shard2))}, "", []string{"1 tensor in another shard than the index says", `"b" in ` + shard2 + ", found in " + shard1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(test.in.write(t), test.path)
			c, err := openAll(path)
			var findings *Findings
			if !errors.As(err, &findings) || c != nil {
				t.Fatalf("got %v, %v; want *Findings", c, err)
			}
			if len(findings.List) != 1 {
				t.Errorf("one fault gives %d findings: %v", len(findings.List), err)
			}
			for _, part := range append(test.want, path) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error lacks %q:\n%v", part, err)
				}
			}
		})
	}
}

// TestAllAtOnce: faults of several kinds come in one error, long lists cut.
func TestAllAtOnce(t *testing.T) {
	var index []string
	for i := range 50 {
		index = append(index, fmt.Sprintf(`"gone%02d":"%s"`, i, shard1))
	}
	index = append(index, fmt.Sprintf(`"x":"model-00002-of-00003.safetensors","y":"%s"`, "model-00003-of-00003.safetensors"))
	dir := folder{
		map[string][]safetensors.Out{shard1: {weight("extra", 1)}},
		map[string]string{
			"model.safetensors.index.json":     `{"weight_map":{` + strings.Join(index, ",") + `}}`,
			"model-00003-of-00003.safetensors": "{\"a\"}",
		},
	}.write(t)
	_, err := Open(dir)
	var format *safetensors.FormatError
	if !errors.As(err, &format) || filepath.Base(format.Path) != "model-00003-of-00003.safetensors" {
		t.Errorf("the damaged shard is not in the error: %v", err)
	}
	for _, part := range []string{"5 problems", "no config.json", "model-00002-of-00003.safetensors", "the file has 5 bytes",
		"50 tensors in the index", `"gone00"`, `"gone19"`, "and 30 more", `"extra" in ` + shard1} {
		if !strings.Contains(fmt.Sprint(err), part) {
			t.Errorf("error lacks %q:\n%v", part, err)
		}
	}
	if strings.Contains(err.Error(), "gone20") {
		t.Errorf("the list is not cut:\n%v", err)
	}
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("errors.Is does not see through: %v", err)
	}
}

// TestLimits: a file that is too long is refused before it is read.
func TestLimits(t *testing.T) {
	dir := folder{twoShards(), map[string]string{"config.json": "{}", "model.safetensors.index.json": ""}}.write(t)
	if err := os.Truncate(filepath.Join(dir, "model.safetensors.index.json"), maxIndexBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "has 268435457 bytes (256.0 MiB), expected at most 268435456") {
		t.Errorf("index over the limit: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "config.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "config.json"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "config.json is a folder; expected a regular file") {
		t.Errorf("config.json a folder: %v", err)
	}
}
