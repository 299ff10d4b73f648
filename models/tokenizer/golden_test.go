package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// golden is one text with what the Hugging Face library gives for it.
type golden struct {
	Text    string  `json:"text"`
	IDs     []int32 `json:"ids"`
	Decoded string  `json:"decoded"`
}

func openFolder(t testing.TB, folder string) *Tokenizer {
	t.Helper()
	tok, err := Open(filepath.Join(folder, "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func readJSON[T any](t testing.TB, path string) (v T) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

const storyteller = "testdata/storyteller"

// deepseekFolder is where the DeepSeek-V3 files lie; they are too big to commit.
func deepseekFolder(t testing.TB) string {
	t.Helper()
	shared := os.Getenv("SMELT_SHARED")
	if shared == "" {
		t.Skip("SMELT_SHARED is not set: not run on the DeepSeek-V3 tokenizer")
	}
	return filepath.Join(shared, "tokenizers", "deepseek-v3")
}

func TestGoldenStoryteller(t *testing.T) { checkGoldens(t, storyteller) }

func TestGoldenDeepSeek(t *testing.T) { checkGoldens(t, deepseekFolder(t)) }

func checkGoldens(t *testing.T, folder string) {
	tok := openFolder(t, folder)
	goldens := readJSON[[]golden](t, filepath.Join(folder, "golden.json"))
	if len(goldens) == 0 {
		t.Fatal("no goldens")
	}
	for _, g := range goldens {
		checkGolden(t, tok, g)
	}
}

func checkGolden(t *testing.T, tok *Tokenizer, g golden) {
	t.Helper()
	for _, run := range []string{"cold", "cached"} {
		ids, err := tok.Encode(g.Text)
		if err != nil {
			t.Fatalf("Encode(%q): %v", g.Text, err)
		}
		if !slices.Equal(ids, g.IDs) {
			t.Errorf("Encode(%q), %s:\n got %v\nwant %v", g.Text, run, ids, g.IDs)
		}
	}
	checkDecode(t, tok, g)
}

// checkDecode decodes at once and as a stream, which it also ends and compares
// at every boundary.
func checkDecode(t *testing.T, tok *Tokenizer, g golden) {
	t.Helper()
	text, err := tok.Decode(g.IDs)
	if err != nil {
		t.Fatalf("Decode(%v): %v", g.IDs, err)
	}
	if text != g.Decoded {
		t.Errorf("Decode(%v):\n got %q\nwant %q", g.IDs, text, g.Decoded)
	}
	certain := ""
	stream := tok.NewStream(false)
	for i, id := range g.IDs {
		if prefix := certain + clone(stream).Flush(); i < 200 && prefix != mustDecode(t, tok, g.IDs[:i]) {
			t.Errorf("stream ended after %d of %v gives %q", i, g.IDs, prefix)
		}
		piece, err := stream.Push(id)
		if err != nil {
			t.Fatalf("Push(%d): %v", id, err)
		}
		certain += piece
		if !strings.HasPrefix(g.Decoded, certain) {
			t.Fatalf("stream of %v gave %q after %d ids, which does not start %q", g.IDs, certain, i+1, g.Decoded)
		}
	}
	if all := certain + stream.Flush(); all != g.Decoded {
		t.Errorf("stream of %v:\n got %q\nwant %q", g.IDs, all, g.Decoded)
	}
}

func clone(s *Stream) *Stream {
	c := *s
	c.pending = slices.Clone(s.pending)
	return &c
}

func mustDecode(t *testing.T, tok *Tokenizer, ids []int32) string {
	t.Helper()
	text, err := tok.Decode(ids)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
