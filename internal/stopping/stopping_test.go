package stopping

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// stopped is what a Stopper makes of pieces, and which string ended the text.
func stopped(stops, pieces []string) (text, found string) {
	s := &Stopper{Strings: stops}
	for _, p := range pieces {
		text += s.Push(p)
	}
	return text + s.Flush(), s.found
}

func TestStopper(t *testing.T) {
	for _, c := range []struct {
		name          string
		stops, pieces []string
		text, found   string
	}{
		{"none", nil, []string{"a", "b"}, "ab", ""},
		{"in one piece", []string{"b"}, []string{"abc"}, "a", "b"},
		{"across two", []string{"bc"}, []string{"ab", "cd"}, "a", "bc"},
		{"across many", []string{"</s>"}, []string{"x<", "/", "s", ">", "y"}, "x", "</s>"},
		{"a beginning that is none", []string{"</s>"}, []string{"x<", "/", "t>"}, "x</t>", ""},
		{"a beginning at the end", []string{"</s>"}, []string{"x<", "/s"}, "x</s", ""},
		{"a beginning in a beginning", []string{"aab"}, []string{"a", "a", "a", "b"}, "a", "aab"},
		{"at once", []string{"\n"}, []string{"\n"}, "", "\n"},
		{"of several bytes", []string{"é…"}, []string{"xé", "…y"}, "x", "é…"},
		{"an emoji", []string{"😀"}, []string{"a", "", "😀b"}, "a", "😀"},
		{"which ends first", []string{"bcd", "c"}, []string{"abcd"}, "ab", "c"},
		{"which ends first, cut", []string{"bcd", "c"}, []string{"a", "b", "c", "d"}, "ab", "c"},
		{"which is longer", []string{"c", "bc"}, []string{"abc"}, "a", "bc"},
		{"which is longer, cut", []string{"c", "bc"}, []string{"a", "b", "c"}, "a", "bc"},
		{"twice", []string{"b"}, []string{"ab", "ab"}, "a", "b"},
	} {
		if text, found := stopped(c.stops, c.pieces); text != c.text || found != c.found {
			t.Errorf("%s: %q, %q; want %q, %q", c.name, text, found, c.text, c.found)
		}
	}
}

// TestStopperPieces: random texts give the same however they are cut, and hold back no
// more than what may be the beginning of a string.
func TestStopperPieces(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	draw := func(most int) string {
		var b strings.Builder
		for range 1 + r.IntN(most) {
			b.WriteString([]string{"a", "b", "é"}[r.IntN(3)])
		}
		return b.String()
	}
	for range 5000 {
		text := draw(40)
		var stops []string
		for range 1 + r.IntN(3) {
			stops = append(stops, draw(6))
		}
		s, pieces := &Stopper{Strings: stops}, strings.Split(text, "")
		var got string
		for i := 0; i < len(pieces); {
			n := 1 + r.IntN(min(4, len(pieces)-i))
			got += s.Push(strings.Join(pieces[i:i+n], ""))
			i += n
			if s.found == "" && s.held != "" && !slices.ContainsFunc(stops, func(x string) bool { return strings.HasPrefix(x, s.held) && x != s.held }) {
				t.Fatalf("%q of %q is held back, for %q", s.held, text, stops)
			}
		}
		got += s.Flush()
		want, end := text, len(text)+1
		for at := range text { // the naive definition: the first end, then the first start
			for _, x := range stops {
				if strings.HasPrefix(text[at:], x) && at+len(x) < end {
					want, end = text[:at], at+len(x)
				}
			}
		}
		if got != want || s.found == "" != (end > len(text)) || s.found != "" && text[len(want):end] != s.found {
			t.Fatalf("%q with %q: %q and %q, want %q", text, stops, got, s.found, want)
		}
	}
}
