package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLookups(t *testing.T) {
	tok := openFolder(t, storyteller)
	if got := tok.VocabSize(); got != 4096 {
		t.Errorf("VocabSize() = %d, want 4096", got)
	}
	for _, c := range []struct {
		text    string
		id      int32
		special bool
	}{
		{"<｜begin▁of▁sentence｜>", 0, true},
		{"<｜end▁of▁sentence｜>", 1, true},
		{"!", 3, false},
		{"<｜User｜>", 4091, true},
		{"</think>", 4094, false},
	} {
		if id, ok := tok.TokenID(c.text); !ok || id != c.id {
			t.Errorf("TokenID(%q) = %d, %v; want %d", c.text, id, ok, c.id)
		}
		if text, ok := tok.Token(c.id); !ok || text != c.text {
			t.Errorf("Token(%d) = %q, %v; want %q", c.id, text, ok, c.text)
		}
		if got := tok.IsSpecial(c.id); got != c.special {
			t.Errorf("IsSpecial(%d) = %v", c.id, got)
		}
	}
	if id, ok := tok.TokenID("no such token"); ok {
		t.Errorf("TokenID of no token = %d", id)
	}
	for _, id := range []int32{-1, 4096, 1 << 30} {
		if text, ok := tok.Token(id); ok || tok.IsSpecial(id) {
			t.Errorf("Token(%d) = %q", id, text)
		}
		if _, err := tok.Decode([]int32{3, id}); err == nil || !strings.Contains(err.Error(), fmt.Sprint(id)) {
			t.Errorf("Decode of id %d: %v", id, err)
		}
	}
}

func TestEncodeOrdinaryRecognisesNoAddedToken(t *testing.T) {
	tok := openFolder(t, storyteller)
	for content, id := range tok.addedIDs {
		text := "Hi " + content + content + "!"
		ids, err := tok.EncodeOrdinary(text)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(ids, id) {
			t.Errorf("EncodeOrdinary(%q) = %v holds %d", text, ids, id)
		}
		if got := mustDecode(t, tok, ids); got != text {
			t.Errorf("EncodeOrdinary(%q) decodes to %q", text, got)
		}
		recognised, err := tok.Encode(text)
		if err != nil || !slices.Contains(recognised, id) {
			t.Errorf("Encode(%q) = %v, %v; want %d in it", text, recognised, err, id)
		}
	}
	if len(tok.addedIDs) == 0 {
		t.Fatal("no added tokens")
	}
}

// Under ignore_merges a whole piece may be a vocabulary entry; a special token
// in the vocabulary must not be reached that way.
func TestIgnoreMergesReachesNoSpecialToken(t *testing.T) {
	file := fileWith("", `"ignore_merges":true,`, `{"a":0,"b":1,"ab":2,"ba":3}`, `[]`, `[{"id":2,"content":"ab","special":true}]`, `null`, partDecoder)
	tok, err := Parse([]byte(file), "ignore")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]int32{"ab": {0, 1}, "ba": {3}} {
		if got, err := tok.EncodeOrdinary(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("EncodeOrdinary(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestEncodeErrors(t *testing.T) {
	tok, err := Parse([]byte(withVocab(partVocab)), "small.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, text, want string }{
		{"invalid UTF-8", "ab\xe4\xbd", "not valid UTF-8 at byte 2 (0xe4)"},
		{"character not in the vocabulary", "abc", `small.json: character 'c' (U+0063) is not in the vocabulary`},
		{"too long", strings.Repeat("a", maxTextBytes+1), "more than the 67108864 accepted"},
	} {
		if ids, err := tok.Encode(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %d ids, error %v; want %q", c.name, len(ids), err, c.want)
		}
	}
}

func TestBacktrackingPatternIsStopped(t *testing.T) {
	const pattern = `(?:a+a?)+!`
	for name, limit := range map[string]func(tok *Tokenizer, e *encoder){
		"one match":   func(tok *Tokenizer, _ *encoder) { limitMatches(tok, 20*time.Millisecond) },
		"whole split": func(_ *Tokenizer, e *encoder) { e.deadline = time.Now().Add(-time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			tok, err := Parse([]byte(withSplit(pattern)), "hostile.json")
			if err != nil {
				t.Fatal(err)
			}
			e := newEncoder(tok)
			e.deadline = time.Now().Add(time.Hour)
			limit(tok, e)
			text := "aa!" + strings.Repeat("a", 100)
			if _, _, err := e.split(text); !errors.Is(err, errTimeout) {
				t.Errorf("error %v, want %v", err, errTimeout)
			}
		})
	}
}

// limitMatches shortens the time-out of every pattern.
func limitMatches(tok *Tokenizer, timeout time.Duration) {
	for _, stage := range tok.splits {
		if re, ok := stage.find.(*regex); ok {
			re.re.MatchTimeout = timeout
		}
	}
}

// Texts of one megabyte that are one piece each, or many pieces after long runs:
// with a merge or a split that takes quadratic time they would take hours.
func TestLongTexts(t *testing.T) {
	tok := openFolder(t, storyteller)
	size := 1 << 20
	if testing.Short() {
		size = 1 << 16
	}
	for _, unit := range []string{"a", " ", "\n", " \n", "\r", "ab", "!", "中", "1", "\t ", "e\u0301", "<", "<｜", " a", "'s"} {
		text := strings.Repeat(unit, size/len(unit)) + "x"
		ids, err := tok.Encode(text)
		if err != nil {
			t.Fatalf("%q: %v", unit, err)
		}
		if got := mustDecode(t, tok, ids); got != text {
			t.Errorf("%q repeated does not decode to itself", unit)
		}
	}
}

func TestCacheStaysBounded(t *testing.T) {
	tok := openFolder(t, storyteller)
	e := newEncoder(tok)
	e.deadline = time.Now().Add(time.Hour)
	var text strings.Builder
	for n := range 2 * maxCachedPieces {
		fmt.Fprintf(&text, " %c%c%c%c", 'a'+n%26, 'a'+n/26%26, 'a'+n/676%26, 'a'+n/17576)
	}
	first, err := e.segment(text.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(e.cache) == 0 || len(e.cache) > maxCachedPieces {
		t.Errorf("%d pieces are kept, at most %d expected", len(e.cache), maxCachedPieces)
	}
	second, err := e.segment(text.String(), nil)
	if err != nil || !slices.Equal(first, second) {
		t.Errorf("the second run differs (error %v)", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	tok := openFolder(t, storyteller)
	goldens := readJSON[[]golden](t, storyteller+"/golden.json")
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for _, g := range goldens {
				ids, err := tok.Encode(g.Text)
				if err != nil || !slices.Equal(ids, g.IDs) {
					t.Errorf("Encode(%q) = %v, %v; want %v", g.Text, ids, err, g.IDs)
				}
			}
		})
	}
	group.Wait()
}

func TestStream(t *testing.T) {
	tok := openFolder(t, storyteller)
	byteID := func(b byte) int32 {
		id, ok := tok.TokenID(string(alphabetChars[b]))
		if !ok {
			t.Fatalf("byte %#x is no token", b)
		}
		return id
	}
	for _, c := range []struct {
		name  string
		bytes string
		want  []string // after each push, and at the end the flush
	}{
		{"whole character", "\xe4\xbd\xa0", []string{"", "", "你", ""}},
		{"cut character", "\xe4\xbdA", []string{"", "", "\ufffdA", ""}},
		{"cut by another", "\xf0\x9f\xe4\xbd\xa0", []string{"", "", "\ufffd", "", "你", ""}},
		{"cut at the end", "a\xf0\x9f\x98", []string{"a", "", "", "", "\ufffd"}},
		{"never valid", "\xff\x80\xc0\xaf", []string{"\ufffd", "\ufffd", "\ufffd", "\ufffd", ""}},
		{"surrogate", "\xed\xa0\x80", []string{"", "\ufffd\ufffd", "\ufffd", ""}},
		{"U+FFFD itself", "\xef\xbf\xbd", []string{"", "", "\ufffd", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream := tok.NewStream(false)
			var got []string
			for i := range len(c.bytes) {
				text, err := stream.Push(byteID(c.bytes[i]))
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, text)
			}
			got = append(got, stream.Flush())
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestStreamAfterErrorAndFlush(t *testing.T) {
	tok := openFolder(t, storyteller)
	stream := tok.NewStream(true)
	ids, err := tok.Encode("<｜begin▁of▁sentence｜>Once")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a flushed stream starts anew
		text := ""
		for _, id := range ids {
			if _, err := stream.Push(-5); err == nil {
				t.Error("id -5 is accepted")
			}
			piece, err := stream.Push(id)
			if err != nil {
				t.Fatal(err)
			}
			text += piece
		}
		if text += stream.Flush(); text != "Once" {
			t.Errorf("got %q, want %q", text, "Once")
		}
	}
}
