package bundle

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// resealed ends a document that lacks its last member with the right one.
func resealed(data []byte) []byte {
	return fmt.Appendf(bytes.Clone(data), sealFormat, digest(data))
}

// edited replaces a text of bundle.json, once, and seals it again.
func edited(t *testing.T, old, new string) []byte {
	t.Helper()
	whole := written().data
	body := string(whole[:len(whole)-sealBytes])
	if !strings.Contains(body, old) {
		t.Fatalf("bundle.json has no %q", old)
	}
	return resealed([]byte(strings.Replace(body, old, new, 1)))
}

// TestSeal: any byte that changes, any cut and anything added is noticed.
func TestSeal(t *testing.T) {
	inFull(t)
	whole := written().data
	if _, err := unseal(whole); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, data []byte) {
		t.Helper()
		_, err := taken(data)
		if err == nil || !strings.Contains(err.Error(), "compile") || strings.Contains(err.Error(), "\n") || len(err.Error()) > 300 {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := 0; n < len(whole); n += len(whole)/97 + 1 {
		refused(fmt.Sprintf("the first %d bytes", n), whole[:n])
		changed := bytes.Clone(whole)
		changed[n] ^= 1
		refused(fmt.Sprintf("byte %d changed", n), changed)
	}
	refused("all but the line's end", whole[:len(whole)-1])
	refused("a space behind it", append(bytes.Clone(whole), ' '))
	refused("a space before it", append([]byte(" "), whole...))
	refused("twice", append(bytes.Clone(whole), whole...))
	refused("no seal", append(bytes.Clone(whole[:len(whole)-sealBytes]), "}\n"...))
	refused("a seal of its own", edited(t, `"format":7,`, `"format":7,"sha256":"`+strings.Repeat("0", 64)+`",`))
}

// TestStrict: names in bundle.json that are unknown, there twice or spelt in another
// case, and values of other kinds. The seal is right each time.
func TestStrict(t *testing.T) {
	inFull(t)
	deep := strings.Repeat(`[`, 20000)
	for _, c := range []struct{ name, old, new, want string }{
		{"another case beside", `"context":256,`, `"context":256,"CONTEXT":5,`, "/options/CONTEXT is a name that is not known"},
		{"another case instead", `"chunk":16`, `"Chunk":16`, "/options/Chunk is a name"},
		{"a name of the future", `"target":`, `"tarjet":`, "/tarjet is a name"},
		{"a name twice", `"slots":1,`, `"slots":1,"slots":1,`, `the key "options.slots" twice`},
		{"a name twice, deep", `"max_rows":16`, `"max_rows":16,"max_rows":1`, `the key "steps.0.max_rows" twice`},
		{"a name spelt with escapes", `"slots":1,`, `"slots":1,"\u0073lots":1,`, `the key "options.slots" twice`},
		{"a file twice", `"plan.ir":`, `"plan.ir":"x","plan.ir":`, "twice (byte"},
		{"a string for a number", `"context":256`, `"context":"256"`, "/options/context: found a string, expected a whole number"},
		{"a fraction", `"context":256`, `"context":256.5`, "expected a whole number"},
		{"a number beyond 64 bits", `"context":256`, `"context":99999999999999999999`, "expected a whole number"},
		{"an object for a list", `"kernels":[`, `"kernels":{},"x":[`, "/kernels: found an object, expected a list"},
		{"null for an object is no object", `"options":{`, `"options":null,"x":{`, "/x is a name"},
		{"deep nesting", `"notes":[`, `"notes":[` + deep, ""},
		{"a long name", `"target":`, `"` + strings.Repeat("x", 5000) + `":`, "is a name that is not known"},
		{"bytes that are no text", `"target":"metal"`, "\"target\":\"\xff\"", ""},
		{"a comment", `"target":`, `/* */"target":`, ""},
	} {
		_, err := taken(edited(t, c.old, c.new))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 300 {
			t.Errorf("%s: %v, expected %q on one short line", c.name, err, c.want)
		}
	}
	for _, version := range []string{`{"format":2,`, `{"format":6,`, `{"format":8,`, `{"format":"7",`, `{"Format":7,`, `{"format":7.0,`} {
		if _, err := taken(edited(t, `{"format":7,`, version)); err == nil || !strings.Contains(err.Error(), "; compile") {
			t.Errorf("%s: %v", version, err)
		}
	}
}
