package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"smelt.example/smelt/bench"
	"smelt.example/smelt/internal/doctor"
	"smelt.example/smelt/internal/runtime/metal"
	"smelt.example/smelt/models"
)

// jsonPage documents the fields of all JSON that commands print.
const jsonPage = "../../docs/json.md"

// jsonSection is a section of the page: its heading, and the type whose fields its
// table lists. A type with a section of its own is not listed again where it is part
// of another; the table links to it there.
type jsonSection struct {
	heading string
	of      any
}

// jsonSections are those of the page, in its order. A new report gets a row here.
var jsonSections = []jsonSection{
	{"smelt run --json", runReport{}},
	{"smelt inspect CHECKPOINT --json", inspectReport{}},
	{"smelt inspect CHECKPOINT --weights --json", weightsReport{}},
	{"smelt compile --json and smelt inspect BUNDLE --json", bundleReport{}},
	{"smelt inspect BUNDLE --cost --json", costReport{}},
	{"smelt inspect BUNDLE --plan --json", planReport{}},
	{"smelt inspect BUNDLE --explain --json", explainReport{}},
	{"smelt inspect --ir --json", irReport{}},
	{"smelt inspect BUNDLE --ir list --json", stagesReport{}},
	{"smelt verify --json", verifyReport{}},
	{"smelt verify --hash --json", hashReport{}},
	{"smelt verify --scan --json", scanReport{}},
	{"smelt doctor --json", doctorReport{}},
	{"smelt eval --json", evalReport{}},
	{"smelt bench kernels --json", bench.KernelReport{}},
	{"smelt bench run --json", bench.RunReport{}},
	{"smelt tokenize --json", tokenizeReport{}},
	{"smelt version --json", versionReport{}},
	{"An answer", runMessage{}},
	{"A token's probability", runLogProb{}},
	{"A stored tensor", planeReport{}},
	{"A step's speed", doctor.Speed{}},
	{"An Apple GPU", metal.GPU{}},
	{"What was measured on", bench.Machine{}},
	{"What was measured", bench.Model{}},
	{"Opening a device", bench.Opening{}},
	{"A spread of times", bench.Spread{}},
}

// jsonUnits are the units that numbers of the page have; what is counted is one.
var jsonUnits = strings.Fields(`none bytes seconds tokens rows nats bits ratio share id index token position texts threads
	times numbers values files tensors parameters layers experts heads streams blocks entries kernels steps dispatches
	barriers buffers threadgroups registers graphs nodes operations operations/second bytes/second tokens/second choices processors lanes`)

// jsonField is a row of a table.
type jsonField struct{ path, kind, unit, meaning string }

// number reports whether a field holds numbers, which have a unit.
func (f jsonField) number() bool {
	return strings.Contains(f.kind, "number") || strings.Contains(f.kind, "integer")
}

func (f jsonField) row() string {
	return fmt.Sprintf("| `%s` | %s | %s | %s |", f.path, f.kind, f.unit, f.meaning)
}

// TestJSONPage compares docs/json.md with the types that commands print, in both
// directions. With -update it writes the tables anew, keeps units and meanings, and
// leaves ? where somebody has to give them.
func TestJSONPage(t *testing.T) {
	w := jsonWalk{sections: map[reflect.Type]string{}, anything: anythings(t), seen: map[reflect.Type]bool{}}
	for _, s := range jsonSections {
		w.sections[reflect.TypeOf(s.of)] = s.heading
	}
	page, err := os.ReadFile(jsonPage)
	must(t, err)
	if *update {
		must(t, os.WriteFile(jsonPage, []byte(updatedPage(t, string(page), w)), 0o666))
		page, err = os.ReadFile(jsonPage)
		must(t, err)
	}
	tables := tablesOf(t, string(page))
	for _, s := range jsonSections {
		want := w.fields(t, reflect.TypeOf(s.of), "")
		for _, complaint := range compareJSON(want, tables[s.heading]) {
			t.Errorf("docs/json.md, section %q, type %T: %s", s.heading, s.of, complaint)
		}
		delete(tables, s.heading)
	}
	for heading := range tables {
		t.Errorf("docs/json.md: no type stands for the table of section %q; add a row to jsonSections, or take the section out", heading)
	}
	for _, name := range reportTypes(t) {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(w.seen)), func(r reflect.Type) bool {
			return r.Name() == name && r.PkgPath() == reflect.TypeOf(runReport{}).PkgPath()
		}) {
			t.Errorf("%s has fields with names of JSON, and no section of docs/json.md lists them: add it to jsonSections, a heading and an empty table to the page, and run go test ./cmd/smelt -run TestJSONPage -update", name)
		}
	}
	for _, path := range commandsWithJSON(newRoot(stdio{}), nil) {
		if !slices.ContainsFunc(jsonSections, func(s jsonSection) bool { return strings.Contains(s.heading, path) }) {
			t.Errorf("%s has a flag --json, and no section of docs/json.md is about it", path)
		}
	}
}

// compareJSON says how a table differs from the fields that it should list.
func compareJSON(want, have []jsonField) (complaints []string) {
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	const mend = "go test ./cmd/smelt -run TestJSONPage -update writes the rows; then give unit and meaning"
	at := func(list []jsonField, path string) int {
		return slices.IndexFunc(list, func(f jsonField) bool { return f.path == path })
	}
	for i, f := range want {
		k := at(have, f.path)
		if k < 0 {
			place := "first"
			if i > 0 {
				place = "behind `" + want[i-1].path + "`"
			}
			f.unit, f.meaning = "UNIT", "MEANING"
			if !f.number() {
				f.unit = ""
			}
			complain("the field %s has no row; add, %s,\n\t%s\n(%s)", f.path, place, f.row(), mend)
			continue
		}
		have := have[k]
		if have.kind != f.kind {
			complain("`%s` is listed as %q, and is %q (%s)", f.path, have.kind, f.kind, mend)
		}
		if f.number() && !slices.Contains(jsonUnits, have.unit) {
			complain("`%s` is a number of unit %q; expected a word of jsonUnits", f.path, have.unit)
		}
		if !f.number() && have.unit != "" {
			complain("`%s` is no number and has the unit %q", f.path, have.unit)
		}
		if len(have.meaning) < 3 {
			complain("`%s` has no meaning", f.path)
		}
	}
	for _, f := range have {
		if at(want, f.path) < 0 {
			complain("the row of `%s` is of a field that is not there any more; take it out (%s)", f.path, mend)
		}
	}
	if len(complaints) == 0 && !slices.EqualFunc(want, have, func(a, b jsonField) bool { return a.path == b.path }) {
		complain("its rows stand in another order than the fields (%s)", mend)
	}
	return complaints
}

// jsonWalk lists the fields of types as encoding/json writes them.
type jsonWalk struct {
	sections map[reflect.Type]string                  // headings of those with one
	anything map[reflect.Type]map[string]reflect.Type // what fields of type any hold
	seen     map[reflect.Type]bool
}

func (w *jsonWalk) fields(t *testing.T, of reflect.Type, prefix string) (list []jsonField) {
	t.Helper()
	w.seen[of] = true
	for i := range of.NumField() {
		f := of.Field(i)
		if f.Anonymous && f.Tag.Get("json") == "" {
			list = append(list, w.fields(t, f.Type, prefix)...)
			continue
		}
		if !f.IsExported() {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch name {
		case "":
			t.Errorf("%s.%s has no name in JSON", of, f.Name)
			continue
		case "-":
			continue
		}
		kind, path, inner := w.kind(t, of, f)
		if strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero") {
			kind += ", optional"
		}
		list = append(list, jsonField{path: prefix + name, kind: kind})
		if inner != nil {
			list = append(list, w.fields(t, inner, prefix+name+path+".")...)
		}
	}
	return list
}

// kind says what a field is in JSON: its words, what stands behind its name in paths to
// its own fields, and the type that has these; nil if it has none, or a section.
func (w *jsonWalk) kind(t *testing.T, of reflect.Type, f reflect.StructField) (words, path string, inner reflect.Type) {
	t.Helper()
	x, before, after := f.Type, "", ""
	if x.Kind() == reflect.Interface {
		if x = w.anything[of][f.Tag.Get("json")]; x == nil {
			t.Fatalf("%s.%s holds anything; tell what in anythings", of, f.Name)
		}
	}
	if x.Kind() == reflect.Pointer {
		x, after = x.Elem(), " or null"
	}
	for x.Kind() == reflect.Slice || x.Kind() == reflect.Array {
		before += "list of "
		if x.Kind() == reflect.Array {
			before += fmt.Sprintf("%d ", x.Len())
		}
		x, path = x.Elem(), path+"[]"
		if x.Kind() == reflect.Pointer {
			x = x.Elem()
		}
	}
	word := ""
	switch k := x.Kind(); {
	case k == reflect.String:
		word = "string"
	case k == reflect.Bool:
		word = "boolean"
	case k >= reflect.Int && k <= reflect.Uint64:
		word = "integer"
	case k == reflect.Float32 || k == reflect.Float64:
		word = "number"
	case k == reflect.Struct:
		word, inner = "object", x
	default:
		t.Fatalf("%s.%s is a %s, of which this test knows no words", of, f.Name, x)
	}
	if before != "" {
		word += "s"
	}
	if heading, own := w.sections[x]; own {
		return fmt.Sprintf("[%s](#%s)", before+word+after, anchorOf(heading)), path, nil
	}
	return before + word + after, path, inner
}

// anythings are the types behind fields of type any.
func anythings(t *testing.T) map[reflect.Type]map[string]reflect.Type {
	t.Helper()
	m, err := models.Open(mixedFixture, models.Options{})
	must(t, err)
	defer m.Close()
	return map[reflect.Type]map[string]reflect.Type{
		reflect.TypeOf(inspectReport{}): {"sizes": reflect.TypeOf(m.Sizes)},
	}
}

// anchorOf is how a link names a section.
func anchorOf(heading string) string {
	return regexp.MustCompile(`[^a-z0-9_-]`).ReplaceAllString(strings.ReplaceAll(strings.ToLower(heading), " ", "-"), "")
}

// tablesOf reads the tables of a page by the headings they stand under, which may be code.
func tablesOf(t *testing.T, page string) map[string][]jsonField {
	t.Helper()
	tables, heading := map[string][]jsonField{}, ""
	for n, line := range strings.Split(page, "\n") {
		if h, is := strings.CutPrefix(line, "## "); is {
			heading = strings.ReplaceAll(h, "`", "")
		}
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) != 4:
			t.Errorf("docs/json.md:%d: expected four cells, field, type, unit and meaning, found %d", n+1, len(cells))
		case cells[0] == "Field":
			if tables[heading] != nil {
				t.Errorf("docs/json.md:%d: a second table under %q", n+1, heading)
			}
			tables[heading] = []jsonField{}
		case !strings.HasPrefix(cells[0], "-"):
			tables[heading] = append(tables[heading], jsonField{strings.Trim(cells[0], "`"), cells[1], cells[2], cells[3]})
		}
	}
	return tables
}

// updatedPage is the page with every table as the types have it, all else as it was.
func updatedPage(t *testing.T, page string, w jsonWalk) string {
	t.Helper()
	tables := tablesOf(t, page)
	var out []string
	heading := ""
	for _, line := range strings.Split(page, "\n") {
		if h, is := strings.CutPrefix(line, "## "); is {
			heading = strings.ReplaceAll(h, "`", "")
		}
		row := strings.HasPrefix(line, "|")
		if !row {
			out = append(out, line)
			continue
		}
		if !strings.HasPrefix(line, "| Field") {
			continue
		}
		out = append(out, line, "| --- | --- | --- | --- |")
		i := slices.IndexFunc(jsonSections, func(s jsonSection) bool { return s.heading == heading })
		if i < 0 {
			t.Fatalf("docs/json.md: section %q has no row in jsonSections", heading)
		}
		for _, f := range w.fields(t, reflect.TypeOf(jsonSections[i].of), "") {
			f.meaning = "?"
			if f.number() {
				f.unit = "?"
			}
			for _, old := range tables[heading] {
				if old.path == f.path {
					f.unit, f.meaning = old.unit, old.meaning
				}
			}
			out = append(out, f.row())
		}
	}
	return strings.Join(out, "\n")
}

// reportTypes are the types of this package with fields that are named for JSON.
func reportTypes(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	must(t, err)
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		must(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, is := n.(*ast.TypeSpec)
			if !is {
				return true
			}
			of, is := spec.Type.(*ast.StructType)
			if is && slices.ContainsFunc(of.Fields.List, func(f *ast.Field) bool { return f.Tag != nil && strings.Contains(f.Tag.Value, "json:") }) {
				names = append(names, spec.Name.Name)
			}
			return true
		})
	}
	if len(names) < 20 {
		t.Errorf("found %d types with names of JSON; the search misses them", len(names))
	}
	return names
}

// commandsWithJSON are the paths of the commands that have a flag --json.
func commandsWithJSON(c *cobra.Command, paths []string) []string {
	if c.Flags().Lookup("json") != nil {
		paths = append(paths, c.CommandPath())
	}
	for _, sub := range c.Commands() {
		paths = commandsWithJSON(sub, paths)
	}
	return paths
}

// TestCompareJSON: what is wrong with a table is said, and how to mend it.
func TestCompareJSON(t *testing.T) {
	want := []jsonField{{path: "path", kind: "string"}, {path: "steps", kind: "list of objects"}, {path: "steps[].rows", kind: "integer"}, {path: "seconds", kind: "number or null"}}
	good := []jsonField{{"path", "string", "", "the folder"}, {"steps", "list of objects", "", "in order"}, {"steps[].rows", "integer", "rows", "at most"}, {"seconds", "number or null", "seconds", "that it took"}}
	with := func(i int, f jsonField) []jsonField {
		list := slices.Clone(good)
		list[i] = f
		return list
	}
	for _, c := range []struct {
		name string
		have []jsonField
		want string
	}{
		{"as it should be", good, ""},
		{"a field more", slices.Insert(slices.Clone(good), 1, jsonField{"error", "string", "", "what went wrong"}), "`error` is of a field that is not there any more"},
		{"a field less", slices.Delete(slices.Clone(good), 2, 3), "steps[].rows has no row; add, behind `steps`,\n\t| `steps[].rows` | integer | UNIT | MEANING |\n(go test ./cmd/smelt -run TestJSONPage -update"},
		{"the first field less", good[1:], "path has no row; add, first,\n\t| `path` | string |  | MEANING |"},
		{"another type", with(3, jsonField{"seconds", "number", "seconds", "that it took"}), "`seconds` is listed as \"number\", and is \"number or null\""},
		{"no unit", with(2, jsonField{"steps[].rows", "integer", "", "at most"}), "`steps[].rows` is a number of unit \"\""},
		{"an unknown unit", with(3, jsonField{"seconds", "number or null", "furlongs", "that it took"}), "unit \"furlongs\""},
		{"a unit of a text", with(0, jsonField{"path", "string", "bytes", "the folder"}), "`path` is no number and has the unit \"bytes\""},
		{"no meaning", with(1, jsonField{"steps", "list of objects", "", "?"}), "`steps` has no meaning"},
		{"another order", []jsonField{good[1], good[0], good[2], good[3]}, "another order"},
	} {
		switch got := compareJSON(want, c.have); {
		case c.want == "" && len(got) > 0:
			t.Errorf("%s: %q", c.name, got)
		case c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)):
			t.Errorf("%s: %q; expected one complaint with %q", c.name, got, c.want)
		}
	}
}
