package message_test

import (
	"math/rand/v2"
	"testing"

	"smelt.example/smelt/internal/message"
)

func TestMeant(t *testing.T) {
	commands := []string{"run", "compile", "inspect", "verify", "doctor", "eval", "bench", "tokenize", "version"}
	for found, want := range map[string]string{
		"rn": "run", "runn": "run", "urn": "run", "evla": "eval", "Eval": "eval", "evaluate": "eval", "insp": "inspect", "inspct": "inspect", "tokenise": "tokenize",
		"compil": "compile", "verfy": "verify", "doctro": "doctor", "benchmark": "bench", "serve": "", "x": "", "": "", "--help": "", "convert": "", "in": "",
	} {
		if want != "" {
			want = "; did you mean " + want + "?"
		}
		if got := message.Meant(found, commands); got != want {
			t.Errorf("%q: %q, want %q", found, got, want)
		}
	}
}

// TestDistance compares with the textbook's recursion, in full and cut short.
func TestDistance(t *testing.T) {
	const seed = 3
	r := rand.New(rand.NewPCG(seed, 0))
	word := func() string {
		b := make([]byte, r.IntN(7))
		for i := range b {
			b[i] = "ab."[r.IntN(3)]
		}
		return string(b)
	}
	for range 2000 {
		a, b, limit := word(), word(), r.IntN(9)
		want := min(editDistance(a, b), limit)
		if got := message.Distance(a, b, limit); got != want {
			t.Fatalf("seed %d: distance(%q, %q, %d) = %d, want %d", seed, a, b, limit, got, want)
		}
	}
}

func editDistance(a, b string) int {
	switch {
	case a == "" || b == "":
		return len(a) + len(b)
	case a[0] == b[0]:
		return editDistance(a[1:], b[1:])
	}
	return 1 + min(editDistance(a[1:], b), editDistance(a, b[1:]), editDistance(a[1:], b[1:]))
}
