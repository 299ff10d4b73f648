package checkpoint

import (
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/ir/encoding"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/models/schema"
	"smelt.example/smelt/ir"
)

// TestDeclared: a default that differs from storage is a note, an entry for
// one module that differs is an error; storage decides.
func TestDeclared(t *testing.T) {
	is := func(names ...string) func(encoding.Encoding) bool {
		return func(e encoding.Encoding) bool { return slices.Contains(names, e.Name()) }
	}
	module := func(stem, format string) schema.DeclaredModule {
		return schema.DeclaredModule{Path: "under." + stem, Stem: stem, Says: "format " + format, Agrees: is(format)}
	}
	tests := []struct {
		name     string
		declared schema.Declared
		notes    []string
		err      string
	}{
		{"nothing", schema.Declared{}, nil, ""},
		{"all as declared", schema.Declared{Default: "X", Agrees: is("mxfp4", "mxfp8")}, nil, ""},
		{"experts in another format", schema.Declared{Default: "X", Agrees: is("mxfp8")}, []string{"config.json declares X; found 2 tensors stored as mxfp4, which is what is used"}, ""},
		{"everything in another format", schema.Declared{Default: "X", Agrees: is()},
			[]string{"config.json declares X; found 2 tensors stored as mxfp4, which is what is used", "config.json declares X; found 1 tensor stored as mxfp8, which is what is used"}, ""},
		{"own entry", schema.Declared{Default: "X", Agrees: is("mxfp4"), Modules: []schema.DeclaredModule{module("s.c", "mxfp8")}}, nil, ""},
		{"entry of something else", schema.Declared{Modules: []schema.DeclaredModule{module("s.z", "mxfp8")}}, []string{"config.json describes the format of under.s.z, which the model does not use"}, ""},
		{"entries of something else", schema.Declared{Modules: []schema.DeclaredModule{module("s.z", "mxfp8"), module("s.c", "mxfp8"), module("s.x", "mxfp4")}},
			[]string{"config.json describes the formats of 2 modules that the model does not use: under.s.z, under.s.x"}, ""},
		{"entry that contradicts", schema.Declared{Modules: []schema.DeclaredModule{module("s.ab", "mxfp8"), module("s.plain", "mxfp4"), module("s.c", "mxfp8")}}, nil,
			"2 settings of config.json's quantization contradicting the tensors; correct config.json; the tensors decide what is stored\n  under.s.ab: config.json says format mxfp8, stored is mxfp4\n  under.s.plain: config.json says format mxfp4, stored is bf16"},
	}
	c := openTensors(t, bf16("s.plain", 2, 2),
		raw("s.ab.weight", safetensors.U32, make([]byte, 3*16), 3, 4), raw("s.ab.scales", safetensors.U8, make([]byte, 3), 3, 1),
		raw("s.d.weight", safetensors.U32, make([]byte, 16), 1, 4), raw("s.d.scales", safetensors.U8, make([]byte, 1), 1, 1),
		raw("s.c.weight", safetensors.U32, make([]byte, 32), 1, 8), raw("s.c.scales", safetensors.U8, make([]byte, 1), 1, 1))
	layout := rules(at("plain", "s.plain"), at("a", "s.ab", "a", "b"), at("b", "s.ab", "a", "b"), at("c", "s.c"), at("d", "s.d"))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			params := []*ir.Param{param("plain", 2, 2), param("a", 1, 32), param("b", 2, 32), param("c", 1, 32), param("d", 1, 32)}
			b, err := Bind(c, schema.Model{Graph: &ir.Module{Params: params}, Layouts: layout, Declared: test.declared})
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(b.Notes, test.notes) {
				t.Errorf("notes %q, want %q", b.Notes, test.notes)
			}
			if params[1].Encoding != "mxfp4" || params[0].Encoding != "bf16" {
				t.Errorf("encodings %q and %q", params[1].Encoding, params[0].Encoding)
			}
		})
	}
}
