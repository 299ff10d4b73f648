package checkpoint

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/models/schema"
	"smelt.example/smelt/ir"
)

const overlayFile = "model-overlay-00001.safetensors"

// indexFor is an index of tensors and the files they are in, by turns.
func indexFor(pairs ...string) map[string]string {
	var entries []string
	for i := 0; i < len(pairs); i += 2 {
		entries = append(entries, fmt.Sprintf("%q:%q", pairs[i], pairs[i+1]))
	}
	return map[string]string{"config.json": "{}", "model.safetensors.index.json": `{"weight_map":{` + strings.Join(entries, ",") + `}}`}
}

// copyOf is a tensor of n bytes that tell which file's copy it is.
func copyOf(name string, n int, which byte) safetensors.Out {
	return raw(name, safetensors.U8, slices.Repeat([]byte{which}, n), int64(n))
}

// TestSuperseded: of a tensor in two files the index's copy is taken, whatever the other
// file is, and the other is listed with its bytes.
func TestSuperseded(t *testing.T) {
	type files = map[string][]safetensors.Out
	for _, test := range []struct {
		name    string
		weights files
		index   []string
		ignored []string // prefix, tensors, bytes and reason
		notes   []string
	}{
		{"one of a shard", files{"model-00001-of-00001.safetensors": {copyOf("s.a", 4, 0), copyOf("s.b", 2, 1)}, overlayFile: {copyOf("s.a", 4, 1)}},
			[]string{"s.a", overlayFile, "s.b", "model-00001-of-00001.safetensors"},
			[]string{"s.a 1 4 superseded in model-00001-of-00001.safetensors by the copies in " + overlayFile + ", which the index names"},
			[]string{"model-00001-of-00001.safetensors: 1 tensor (4 bytes) not used, superseded by the copies in " + overlayFile + ", which the index names: s.a"}},
		{"of another size and type", files{shard1: {copyOf("s.a", 4, 0), copyOf("s.b", 2, 1)}, shard2: {copyOf("s.c", 2, 1)}, overlayFile: {copyOf("s.a", 8, 1)}},
			[]string{"s.a", overlayFile, "s.b", shard1, "s.c", shard2},
			[]string{"s.a 1 4 superseded in " + shard1 + " by the copies in " + overlayFile + ", which the index names"}, []string{"(4 bytes)"}},
		{"between shards", files{shard1: {copyOf("s.a", 4, 0), copyOf("s.b", 2, 1)}, shard2: {copyOf("s.c", 2, 1), copyOf("s.a", 4, 1)}},
			[]string{"s.a", shard2, "s.b", shard1, "s.c", shard2},
			[]string{"s.a 1 4 superseded in " + shard1 + " by the copies in " + shard2 + ", which the index names"}, []string{": s.a"}},
		{"a whole shard, which the index leaves out", files{shard1: {copyOf("s.l.3.a", 4, 0), copyOf("s.l.7.a", 3, 0)}, shard2: {copyOf("s.c", 2, 1)}, overlayFile: {copyOf("s.l.3.a", 4, 1), copyOf("s.l.7.a", 3, 1)}},
			[]string{"s.l.3.a", overlayFile, "s.l.7.a", overlayFile, "s.c", shard2},
			[]string{"s.l.{l}.a 2 7 superseded in " + shard1 + " by the copies in " + overlayFile + ", which the index names"}, []string{": s.l.3.a, s.l.7.a"}},
		{"over a single file", files{"model.safetensors": {copyOf("s.a", 4, 0), copyOf("s.b", 2, 1)}, "patch.safetensors": {copyOf("s.a", 4, 1)}},
			[]string{"s.a", "patch.safetensors", "s.b", "model.safetensors"},
			[]string{"s.a 1 4 superseded in model.safetensors by the copies in patch.safetensors, which the index names"}, []string{"model.safetensors: 1 tensor"}},
		{"three copies, and two overlays", files{shard1: {copyOf("s.a", 4, 0), copyOf("s.b", 2, 0)}, "o1.safetensors": {copyOf("s.a", 4, 0), copyOf("s.b", 2, 1)}, "o2.safetensors": {copyOf("s.a", 4, 1)}, shard2: {copyOf("s.c", 1, 1)}},
			[]string{"s.a", "o2.safetensors", "s.b", "o1.safetensors", "s.c", shard2},
			[]string{"s.a 1 4 superseded in " + shard1 + " by the copies in o2.safetensors, which the index names", "s.a 1 4 superseded in o1.safetensors by the copies in o2.safetensors, which the index names",
				"s.b 1 2 superseded in " + shard1 + " by the copies in o1.safetensors, which the index names"}, []string{"", "", ""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := mustOpen(t, folder{test.weights, indexFor(test.index...)}.write(t))
			var params []*ir.Param
			var all []schema.Rule
			for _, x := range c.Tensors() {
				if data := x.Data(); slices.Contains(data, 0) {
					t.Errorf("%s is the copy of %s", x.Name, base(x.File))
				}
				params = append(params, table(x.Name, int(x.Shape[0])))
				all = append(all, at(x.Name, x.Name))
			}
			slices.SortFunc(all, func(a, b schema.Rule) int { return strings.Compare(a.Param, b.Param) })
			b, err := Bind(c, schema.Model{Graph: &ir.Module{Params: params}, Layouts: []schema.Layout{{Name: "test", Marks: []string{"s."}, Rules: patterns(all)}}})
			if err != nil {
				t.Fatal(err)
			}
			if len(params)*2 != len(test.index) {
				t.Errorf("%d tensors, want %d", len(params), len(test.index)/2)
			}
			var ignored []string
			for _, g := range b.Ignored {
				ignored = append(ignored, fmt.Sprintf("%s %d %d %s", g.Prefix, g.Tensors, g.Bytes, g.Reason))
			}
			if !slices.Equal(ignored, test.ignored) {
				t.Errorf("ignored %q, want %q", ignored, test.ignored)
			}
			if len(b.Notes) != len(test.notes) {
				t.Errorf("notes %q, want %q", b.Notes, test.notes)
			}
			for i, want := range test.notes {
				if !strings.Contains(b.Notes[i], want) {
					t.Errorf("note %q lacks %q", b.Notes[i], want)
				}
			}
		})
	}
}

// patterns are rules for any layer, each once.
func patterns(rules []schema.Rule) []schema.Rule {
	for i := range rules {
		rules[i].Param, _ = schema.Generalise(rules[i].Param)
		rules[i].Places[0].Stem = rules[i].Param
	}
	return slices.CompactFunc(rules, func(a, b schema.Rule) bool { return a.Param == b.Param })
}

// TestStrays: a file of the set that the index does not name and of which anything would
// be lost is refused, whatever else of it is superseded.
func TestStrays(t *testing.T) {
	type files = map[string][]safetensors.Out
	for name, test := range map[string]struct {
		weights files
		broken  string // a file that is no file of weights
		index   []string
	}{
		"nothing superseded": {files{shard1: {copyOf("s.a", 1, 1)}, shard2: {copyOf("s.b", 1, 1)}}, "", []string{"s.b", shard2}},
		"half superseded":    {files{shard1: {copyOf("s.a", 1, 1), copyOf("s.b", 1, 0)}, shard2: {copyOf("s.b", 1, 1)}}, "", []string{"s.b", shard2}},
		"empty":              {files{shard1: nil, shard2: {copyOf("s.b", 1, 1)}}, "", []string{"s.b", shard2}},
		"not readable":       {files{shard2: {copyOf("s.b", 1, 1)}}, shard1, []string{"s.b", shard2}},
	} {
		t.Run(name, func(t *testing.T) {
			f := folder{test.weights, indexFor(test.index...)}
			if test.broken != "" {
				f.files[test.broken] = "?"
			}
			_, err := Open(f.write(t))
			want := "1 shard of the same set not named by model.safetensors.index.json; download the index again or remove the files\n  " + shard1
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "problems") {
				t.Errorf("got %v, want %q alone", err, want)
			}
		})
	}
}

// TestAbsent: what the index names and no file has is noted where the model has no use
// for it, and an error otherwise.
func TestAbsent(t *testing.T) {
	type files = map[string][]safetensors.Out
	const reason = "the block is not used yet"
	all := []string{"s.a", shard1, "mtp.0.x", shard2, "mtp.0.y", shard2, "mtp.1.x", shard1}
	for name, test := range map[string]struct {
		weights files
		index   []string
		note    string
		errors  []string
	}{
		"all there": {files{shard1: {copyOf("s.a", 1, 1), copyOf("mtp.1.x", 1, 1)}, shard2: {copyOf("mtp.0.x", 1, 1), copyOf("mtp.0.y", 1, 1)}}, all, "", nil},
		"stripped from files": {files{shard1: {copyOf("s.a", 1, 1)}, shard2: nil}, all,
			`model.safetensors.index.json names 3 tensors that no file has, such as "mtp.0.x" in ` + shard2 + "; " + reason, nil},
		"with their file": {files{shard1: {copyOf("s.a", 1, 1), copyOf("mtp.1.x", 1, 1)}}, all, `names 2 tensors that no file has, such as "mtp.0.x" in ` + shard2, nil},
		"some of them":    {files{shard1: {copyOf("s.a", 1, 1), copyOf("mtp.1.x", 1, 1)}, shard2: {copyOf("mtp.0.y", 1, 1)}}, all, `names 1 tensor that no file has, such as "mtp.0.x" in ` + shard2, nil},
		"another's too":   {files{shard1: {copyOf("s.a", 1, 1)}, shard2: nil}, append([]string{"s.b", shard1}, all...), "", []string{"1 tensor in the index but not in the shard it names", `"s.b" in ` + shard1}},
		"a file with another's": {files{shard1: {copyOf("s.a", 1, 1)}}, append([]string{"s.b", shard2}, all...), "",
			[]string{"1 shard named by model.safetensors.index.json not in the folder; download them into", shard2}},
		"all files": {files{"z.safetensors": {copyOf("z", 1, 1)}}, all, "", []string{"1 shard named by", shard1}},
	} {
		t.Run(name, func(t *testing.T) {
			c := mustOpen(t, folder{test.weights, indexFor(test.index...)}.write(t))
			b, err := Bind(c, schema.Model{Graph: &ir.Module{Params: []*ir.Param{table("a", 1)}}, Layouts: rules(at("a", "s.a")), Ignores: []schema.Ignore{{Prefix: "mtp.{l}.", Reason: reason}}})
			if test.errors != nil {
				if err == nil || strings.Contains(err.Error(), "mtp") || strings.Contains(err.Error(), "problems") {
					t.Fatalf("got %v, want %q alone", err, test.errors)
				}
				for _, part := range test.errors {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("error lacks %q: %v", part, err)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if notes := strings.Join(b.Notes, "\n"); !strings.Contains(notes, test.note) || (notes == "") != (test.note == "") {
				t.Errorf("notes %q, want %q", notes, test.note)
			}
		})
	}
}
