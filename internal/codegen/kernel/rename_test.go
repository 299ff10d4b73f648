package kernel

import (
	"regexp"
	"strings"
	"testing"
)

// TestRenamed: every name is asked for and replaced, of each kind, and the way back
// leads to the same text, but for comments and estimates.
func TestRenamed(t *testing.T) {
	k, err := Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	text := func(body []Stmt) string { return Print(&Kernel{Name: "anything", Body: body}) }
	const mark = "_renamed"
	asked := map[NameKind]map[string]bool{}
	there := Renamed(k.Body, func(kind NameKind, name string) string {
		if asked[kind] == nil {
			asked[kind] = map[string]bool{}
		}
		asked[kind][name] = true
		return name + mark
	})
	for kind, name := range map[NameKind]string{LocalName: "sum", FragmentName: "acc", ScalarName: "shift", PointerName: "x", SharedName: "tile", FieldName: "angles"} {
		if !asked[kind][name] {
			t.Errorf("%s was not asked for as of kind %d", name, kind)
		}
	}
	for _, names := range asked {
		for name := range names {
			if regexp.MustCompile(`(^|[^.\w])` + name + `\b`).MatchString(text(there)) {
				t.Errorf("%s is still in\n%s", name, text(there))
			}
		}
	}
	back := Renamed(there, func(_ NameKind, name string) string { return strings.TrimSuffix(name, mark) })
	want := regexp.MustCompile(`(?m)^ *comment .*\n| about .*$`).ReplaceAllString(text(k.Body), "")
	if got := text(back); got != want {
		t.Errorf("there and back again it is\n%s", got)
	}
}

// TestDeclared: of all statements that declare a name.
func TestDeclared(t *testing.T) {
	k, err := Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	Declared(k.Body, func(name string) { names[name] = true })
	for _, name := range []string{"row", "sum", "i", "v", "item", "acc", "k"} {
		if !names[name] {
			t.Errorf("%s is missing", name)
		}
	}
	if names["x"] || names["part"] || names["shift"] {
		t.Error("names of the kernel itself are among them")
	}
}
