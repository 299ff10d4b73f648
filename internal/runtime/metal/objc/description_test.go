package objc

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// declaration is a method as the description tells it.
type declaration struct {
	result string
	args   []string
	owned  bool
	since  int // the macOS's major version; 10 before 11
}

// class is a class or protocol of the description.
type class struct {
	super   string
	since   int
	methods map[string]declaration // by "+selector" or "-selector"
}

// description is testdata/api.txt.
type description struct {
	types     map[string]string
	structs   map[string][]string
	constants map[string]string
	classes   map[string]*class
}

// readDescription reads testdata/api.txt, whose head explains its form.
func readDescription(t *testing.T) *description {
	t.Helper()
	text, err := os.ReadFile("testdata/api.txt")
	if err != nil {
		t.Fatal(err)
	}
	d := &description{map[string]string{}, map[string][]string{}, map[string]string{}, map[string]*class{}}
	var current *class
	for i, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if current, err = d.add(current, line); err != nil {
			t.Fatalf("testdata/api.txt:%d: %v", i+1, err)
		}
	}
	return d
}

// add reads one line; the result is the class that the next methods belong to.
func (d *description) add(current *class, line string) (*class, error) {
	kind, rest, _ := strings.Cut(line, " ")
	if kind == "+" || kind == "-" {
		if current == nil {
			return nil, fmt.Errorf("a method outside a class")
		}
		return current, current.add(kind, rest)
	}
	if kind == "class" {
		f := strings.Fields(rest)
		if len(f) != 4 || f[1] != ":" || d.classes[f[0]] != nil {
			return nil, fmt.Errorf("want one new \"class NAME : SUPER MACOS\", found %q", line)
		}
		since, err := major(f[3])
		d.classes[f[0]] = &class{f[2], since, map[string]declaration{}}
		return d.classes[f[0]], err
	}
	name, value, found := strings.Cut(rest, " = ")
	if !found {
		return nil, fmt.Errorf("no = in %q", line)
	}
	switch kind {
	case "type":
		d.types[name] = value
	case "struct":
		d.structs[name] = strings.Fields(value)
	case "const":
		d.constants[name] = value
	default:
		return nil, fmt.Errorf("unknown %q", kind)
	}
	return nil, nil
}

// add reads a method's line after its sign.
func (c *class) add(sign, rest string) error {
	f := strings.Split(rest, "|")
	if len(f) != 4 {
		return fmt.Errorf("%d columns, want 4", len(f))
	}
	for i := range f {
		f[i] = strings.TrimSpace(f[i])
	}
	key := sign + f[0]
	if _, twice := c.methods[key]; twice {
		return fmt.Errorf("%s is declared twice", key)
	}
	version, owned := strings.CutSuffix(f[3], " owned")
	since, err := major(version)
	m := declaration{result: f[1], owned: owned, since: since}
	if f[2] != "" {
		for a := range strings.SplitSeq(f[2], ",") {
			m.args = append(m.args, strings.TrimSpace(a))
		}
	}
	c.methods[key] = m
	return err
}

func major(version string) (int, error) {
	whole, _, _ := strings.Cut(version, ".")
	return strconv.Atoi(whole)
}

// find looks a method up in a class and what it inherits. A method is as new as
// the newest of itself and the class it is sent to.
func (d *description) find(owner, key string) (declaration, bool) {
	since := 0
	for c := d.classes[owner]; c != nil; c = d.classes[c.super] {
		since = max(since, c.since)
		if m, ok := c.methods[key]; ok {
			m.since = max(m.since, since)
			return m, true
		}
	}
	return declaration{}, false
}

// words are the C types that fill a register of the general kind.
var words = []string{"NSUInteger", "NSInteger", "uint64_t", "unsigned long long"}

// typeOf is how a declared type is passed.
func (d *description) typeOf(declared string) (Type, error) {
	if of, ok := d.types[declared]; ok {
		return d.typeOf(of)
	}
	if _, ok := d.structs[declared]; ok {
		if where, err := d.passing(declared); err != nil || where != byReference {
			return 0, fmt.Errorf("%s: structs passed %v are not in the table (%v)", declared, where, err)
		}
		return Size, nil
	}
	pointee, pointer := strings.CutSuffix(declared, " *")
	switch {
	case slices.Contains(words, declared):
		return Word, nil
	case declared == "void":
		return Void, nil
	case declared == "BOOL":
		return Bool, nil
	case declared == "double":
		return Double, nil
	case declared == "SEL":
		return Select, nil
	case declared == "NSError **":
		return Failure, nil
	case declared == "id", declared == "instancetype", strings.HasPrefix(declared, "id<"):
		return Object, nil
	case declared == "block", strings.HasSuffix(declared, " **"), pointer && slices.Contains([]string{"void", "const void", "const char", "const id"}, pointee):
		return Address, nil
	case pointer && (strings.HasPrefix(pointee, "NS") || strings.HasPrefix(pointee, "MTL")):
		return Object, nil
	}
	return 0, fmt.Errorf("unknown type %q", declared)
}
