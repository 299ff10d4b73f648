package bundle

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
)

// span is a value of bundle.json: where it stands.
type span struct {
	pointer    jsontext.Pointer
	kind       jsontext.Kind
	start, end int
	items      []span // of a list
}

// spans lists all values of a document, lists with their items.
func spans(t *testing.T, data []byte) []span {
	t.Helper()
	var all []span
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	var value func() span
	value = func() span {
		var s span
		switch s.kind = dec.PeekKind(); s.kind {
		case jsontext.KindBeginObject, jsontext.KindBeginArray:
			if _, err := dec.ReadToken(); err != nil {
				t.Fatal(err)
			}
			s.start, s.pointer = int(dec.InputOffset())-1, dec.StackPointer()
			for dec.PeekKind() != jsontext.KindEndObject && dec.PeekKind() != jsontext.KindEndArray {
				if s.kind == jsontext.KindBeginObject {
					if _, err := dec.ReadToken(); err != nil {
						t.Fatal(err)
					}
					value()
				} else {
					s.items = append(s.items, value())
				}
			}
			if _, err := dec.ReadToken(); err != nil {
				t.Fatal(err)
			}
		default:
			raw, err := dec.ReadValue()
			if err != nil {
				t.Fatal(err)
			}
			s.start, s.pointer = int(dec.InputOffset())-len(raw), dec.StackPointer()
		}
		s.end = int(dec.InputOffset())
		all = append(all, s)
		return s
	}
	value()
	return all
}

// splice puts texts in the place of spans, which ascend and are apart.
func splice(data []byte, at []span, texts ...string) []byte {
	var out []byte
	from := 0
	for i, s := range at {
		out = append(append(out, data[from:s.start]...), texts[i]...)
		from = s.end
	}
	return append(out, data[from:]...)
}

// mutate changes one value, or the order or number of a list's items.
func mutate(rng *rand.Rand, data []byte, all []span) (what string, changed []byte) {
	text := func(s span) string { return string(data[s.start:s.end]) }
	for {
		s := all[rng.IntN(len(all))]
		now := text(s)
		to := now
		switch s.kind {
		case jsontext.KindNumber:
			var n int64
			if _, err := fmt.Sscan(now, &n); err != nil {
				continue
			}
			to = fmt.Sprint([]int64{n + 1, n - 1, 0, 2 * n, -n, n + 256, 1 << 40, 1<<63 - 1}[rng.IntN(8)])
		case jsontext.KindString: // another one that stands at such a place
			for range 50 {
				if o := all[rng.IntN(len(all))]; o.kind == s.kind && o.pointer.LastToken() == s.pointer.LastToken() {
					to = text(o)
				}
			}
		case jsontext.KindTrue:
			to = "false"
		case jsontext.KindBeginArray:
			if len(s.items) < 2 {
				continue
			}
			i := rng.IntN(len(s.items) - 1)
			pair := s.items[i : i+2]
			switch rng.IntN(3) {
			case 0:
				return fmt.Sprintf("%s: items %d and %d change places", s.pointer, i, i+1), splice(data, pair, text(pair[1]), text(pair[0]))
			case 1:
				return fmt.Sprintf("%s: item %d twice", s.pointer, i), splice(data, pair[:1], text(pair[0])+","+text(pair[0]))
			default:
				both := span{start: pair[0].start, end: pair[1].end}
				return fmt.Sprintf("%s: item %d is dropped", s.pointer, i), splice(data, []span{both}, text(pair[1]))
			}
		}
		if to != now {
			return fmt.Sprintf("%s: %s instead of %s", s.pointer, message.Clip(to), message.Clip(now)), splice(data, []span{s}, to)
		}
	}
}

// executed is all of a bundle that a device goes by, as bundle.json spells it: the
// notes, the checkpoint's folder and where command buffers end change nothing.
func executed(t *testing.T, b *Bundle) string {
	t.Helper()
	doc, err := b.document(map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	doc.Notes, doc.Model.Checkpoint, doc.Options.Rows, doc.Options.Keys = nil, "", "", ""
	for _, s := range doc.Steps {
		for i := range s.Dispatches {
			s.Dispatches[i].CommandBuffer = 0
		}
	}
	data, err := encode(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestMutated draws changes of bundle.json, sealed again: an error, or the same
// plan to the byte.
func TestMutated(t *testing.T) {
	inFull(t)
	t.Parallel()
	whole := written().data
	body := whole[:len(whole)-sealBytes]
	closed := append(bytes.Clone(body), '}')
	all := spans(t, closed)
	s := source(t, fixture)
	first, _ := twoBundles()
	want := executed(t, first)
	rng := rand.New(rand.NewPCG(13, 3))
	const draws = 10
	refused, same := 0, 0
	for range draws {
		what, changed := mutate(rng, closed, all)
		b, err := taken(resealed(bytes.TrimSuffix(changed, []byte("}"))))
		if err == nil {
			err = b.Bind(s)
		}
		switch {
		case err != nil && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 700):
			t.Errorf("%s: not one short line: %v", what, err)
		case err != nil:
			refused++
		case executed(t, b) != want:
			t.Errorf("%s: taken, and another plan", what)
		default:
			same++
		}
	}
	t.Logf("%d refused, %d of no effect", refused, same)
	if refused < draws/2 {
		t.Errorf("only %d of %d were refused", refused, draws)
	}
}

// TestTrust edits bundle.json in ways that used to be taken, or crashed. The seal
// is right each time, so that what is behind it is asked.
func TestTrust(t *testing.T) {
	inFull(t)
	t.Parallel()
	whole := written().data
	closed := append(bytes.Clone(whole[:len(whole)-sealBytes]), '}')
	at, kir := map[string]span{}, ""
	for _, s := range spans(t, closed) {
		at[string(s.pointer)] = s
		if strings.HasSuffix(string(s.pointer), ".kir") {
			kir = string(s.pointer)
		}
	}
	text := func(p string) string { return string(closed[at[p].start:at[p].end]) }
	s := source(t, fixture)
	for _, c := range []struct {
		name     string
		pointers []string // ascending
		texts    []string
		want     string
	}{
		{"rows of a step", []string{"/steps/0/max_rows"}, []string{"1"}, "/steps/0/max_rows is 1, expected 16"},
		{"two caches at one place", []string{"/caches/1/offset"}, []string{"0"}, "/caches/1/offset is 0"},
		{"a cache's slots", []string{"/caches/0/slots"}, []string{"4"}, "/caches/0/slots is 4"},
		{"slots", []string{"/options/slots"}, []string{"2"}, "expected"},
		{"slots beyond all", []string{"/options/slots"}, []string{"5000"}, "Slots is 5000"},
		{"context", []string{"/options/context"}, []string{"512"}, "expected"},
		{"target", []string{"/target"}, []string{`"cpu8"`}, ""},
		{"a weight for another", []string{"/steps/0/dispatches/1/kernel"}, []string{text("/steps/0/dispatches/2/kernel")}, "/steps/0/dispatches/1/kernel"},
		{"a grid", []string{"/steps/0/dispatches/1/grid/0"}, []string{`"1"`}, "/steps/0/dispatches/1/grid/0"},
		{"a barrier", []string{"/steps/0/dispatches/3/level"}, []string{"0"}, "/steps/0/dispatches/3/level is 0"},
		{"a buffer's place", []string{"/steps/0/buffers/1/offset"}, []string{"0"}, "/steps/0/buffers/1/offset"},
		{"the arena", []string{"/steps/0/arena_bytes"}, []string{"256"}, "/steps/0/arena_bytes is 256"},
		{"a kernel's digest", []string{kir}, []string{`"` + strings.Repeat("0", 64) + `"`}, kir},
		{"the folder", []string{"/folder"}, []string{`"smelt-0"`}, "/folder"},
		{"rows of a parameter", []string{"/parameters/0/rows"}, []string{"1"}, "parameters[0]"},
		{"a piece that ends late", []string{"/parameters/0/pieces/0/rows"}, []string{"100000"}, "parameters[0]"},
		{"an extent beyond the file", []string{"/parameters/0/pieces/0/weight/1"}, []string{"9000000000000000000"}, "parameters[0]"},
		{"a file that is not there", []string{"/parameters/0/pieces/0/weight/0"}, []string{"99"}, "file 99"},
		{"the format of rows", []string{"/options/cache_rows"}, []string{`"f32"`}, "its caches are f32 with keys fp4"},
		{"the format of keys", []string{"/options/cache_keys"}, []string{`"bf16"`}, "its caches are fp8 with keys bf16"},
		{"no format", []string{"/options/cache_keys"}, []string{`"fp8"`}, `found "fp8"`},
		{"orders to a terminal", []string{"/notes/0"}, []string{`"\u001b[2J"`}, "a control character"},
		{"orders in a name", []string{"/model/layout"}, []string{`"a\u009b1m"`}, "a control character"},
		{"the model's name", []string{"/model/name"}, []string{`"b"`}, "the bundle"},
		{"a file's size", []string{"/model/files/0/bytes"}, []string{"1000000000"}, "/memory/weights is"},
	} {
		var where []span
		for _, p := range c.pointers {
			if at[p].end == 0 {
				t.Fatalf("%s: nothing at %s", c.name, p)
			}
			where = append(where, at[p])
		}
		changed := splice(closed, where, c.texts...)
		b, err := taken(resealed(changed[:len(changed)-1]))
		if err == nil {
			err = b.Bind(s)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, expected %q", c.name, err, c.want)
		}
	}
}

// TestPiecesSwapped: two parameters of one shape whose places in the files change
// places. Planning alone cannot notice; the checkpoint's headers can.
func TestPiecesSwapped(t *testing.T) {
	inFull(t)
	t.Parallel()
	s := source(t, fixture)
	b := compile(t, s, smallOptions) // its own: it is spoilt
	swapped := 0
	for i, p := range b.Module.Params {
		for _, q := range b.Module.Params[:i] {
			x, y := b.Params[p.Name], b.Params[q.Name]
			if swapped == 2 || x.Rows != y.Rows || x.Cols != y.Cols || x.Lead != y.Lead || x.Encoding != y.Encoding {
				continue
			}
			swapped++
			x.Pieces, y.Pieces = y.Pieces, x.Pieces
			doc, err := b.document(map[string]string{moduleName: ""})
			if err != nil {
				t.Fatal(err)
			}
			doc.Contents = doc.expectedContents(b.Plan.Target, b.Plan.Kernels)
			doc.Folder = folderOf(doc.Contents)
			data, _, err := seal(doc)
			if err != nil {
				t.Fatal(err)
			}
			read, err := taken(data)
			if err == nil {
				err = read.Bind(s)
			}
			if err == nil || !strings.Contains(err.Error(), q.Name) || !strings.Contains(err.Error(), "lies elsewhere") {
				t.Errorf("%s and %s: %v", p.Name, q.Name, err)
			}
			x.Pieces, y.Pieces = y.Pieces, x.Pieces
		}
	}
	if swapped == 0 {
		t.Fatal("no two parameters are of one shape")
	}
}
