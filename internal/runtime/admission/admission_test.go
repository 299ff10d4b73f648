package admission

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smelt.example/smelt/internal/memory"
	"smelt.example/smelt/internal/models/checkpoint/container"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/models/checkpoint"
)

// needs are those of a device with 3 GB of its own and 20 GB of weights, of which a token
// reads 2 GB that all tokens read, and a tenth of the rest.
func needs() Needs {
	return Needs{
		Device: "cpu", Weights: 20e9,
		Parts: []Part{{"caches", 2e9}, {"activations", 1e9}, {"nothing", 0}},
		Reads: func() ([]Read, error) { return []Read{{2e9, 2e9}, {18e8, 18e9}}, nil },
		Less: func(limit int64) error {
			return option.Errorf("%s for %d", option.Name("Context"), limit)
		},
	}
}

func TestAdmit(t *testing.T) {
	figure := func(n int64, source string) memory.Figure { return memory.Figure{Bytes: n, Source: source} }
	for name, c := range map[string]struct {
		memory memory.Memory
		paging bool
		want   []string // of the refusal
		note   []string
		err    Error // its numbers
		names  []string
	}{
		"enough":                          {memory: memory.Memory{Total: figure(23e9, "all"), Available: figure(3e9, "left")}},
		"nothing is known":                {},
		"one byte too few":                {memory: memory.Memory{Available: figure(3e9-1, "group")}, want: []string{"the cpu device needs 3.00 GB of memory besides the weights (caches 2.00 GB, activations 1.00 GB), and 3.00 GB are available (group): Context for 2999999999"}, err: Error{Need: 3e9, Have: 3e9 - 1}, names: []string{"Context"}},
		"nothing is left":                 {memory: memory.Memory{Total: figure(99e9, "all"), Available: figure(0, "group")}, want: []string{"0 bytes are available (group)"}, err: Error{Need: 3e9}, names: []string{"Context"}},
		"paging is no help":               {memory: memory.Memory{Total: figure(99e9, "all"), Available: figure(1e9, "left")}, paging: true, want: []string{"1.00 GB are available (left)"}, err: Error{Need: 3e9, Have: 1e9}, names: []string{"Context"}},
		"weights beyond free memory only": {memory: memory.Memory{Total: figure(23e9, "all"), Available: figure(4e9, "left")}},
		"weights beyond memory": {
			memory: memory.Memory{Total: figure(13e9, "MemTotal"), Available: figure(4e9, "left")},
			want: []string{"the weights take 20.0 GB and the cpu device 3.00 GB besides (caches 2.00 GB, activations 1.00 GB), and the memory is 13.0 GB (MemTotal): ",
				"a token reads 3.80 GB of weights, 50 % of all weights fit, and about 1.00 GB a token come from the disk, which gives 500.0 MB a second (a guess): expect at most 0.5 tokens a second; give AllowPaging to run all the same"},
			err: Error{Need: 23e9, Have: 13e9, Paging: true}, names: []string{"AllowPaging"},
		},
		"weights that fit alone": {
			memory: memory.Memory{Total: figure(23e9-1, "MemTotal"), Available: figure(4e9, "left")},
			want:   []string{" 100 % of all weights fit, and about "}, err: Error{Need: 23e9, Have: 23e9 - 1, Paging: true}, names: []string{"AllowPaging"},
		},
		"weights beyond memory, as wanted": {
			memory: memory.Memory{Total: figure(13e9, "MemTotal"), Available: figure(4e9, "left")}, paging: true,
			note: []string{"the weights take 20.0 GB", "expect at most 0.5 tokens a second"},
		},
		"not even one token's": {
			memory: memory.Memory{Total: figure(4e9, "group"), Available: figure(4e9, "group")}, paging: true,
			note: []string{"5 % of all weights fit, and about 3.80 GB a token come from the disk, which gives 500.0 MB a second (a guess): expect at most 0.13 tokens a second"},
		},
		"not even the parts, of all": {memory: memory.Memory{Total: figure(1e9, "group")}, paging: true, note: []string{"0 % of all weights fit"}},
	} {
		var notes []string
		g := Gate{Memory: c.memory, AllowPaging: c.paging, Note: func(text string) { notes = append(notes, text) },
			Rate: func([]checkpoint.File) (float64, string) { return 5e8, "a guess" }}
		_, err := g.Admit(needs())
		if (err == nil) != (c.want == nil) || (len(notes) > 0) != (c.note != nil) {
			t.Errorf("%s: %v, %q", name, err, notes)
			continue
		}
		for _, w := range c.note {
			if !strings.Contains(notes[0], w) || len(notes) > 1 {
				t.Errorf("%s: noted %q, expected %q", name, notes, w)
			}
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v\nexpected %q", name, err, w)
			}
		}
		var typed *Error
		var options *option.Error
		if err == nil {
			continue
		}
		if !errors.As(err, &typed) || typed.Need != c.err.Need || typed.Have != c.err.Have || typed.Paging != c.err.Paging {
			t.Errorf("%s: %#v, expected the numbers of %#v", name, typed, c.err)
		}
		if text := option.Text(err, func(n option.Name) string { return "--" + string(n) }); !strings.Contains(text, "--"+c.names[0]) {
			t.Errorf("%s: on the command line %s", name, text)
		}
		if !errors.As(err, &options) || !slices.Equal(options.Names(), c.names) {
			t.Errorf("%s: %v names %v, expected %v", name, err, options.Names(), c.names)
		}
	}
}

// TestNoPlan: where nobody can say what a token reads, the rest is said.
func TestNoPlan(t *testing.T) {
	n := needs()
	n.Reads = func() ([]Read, error) { return nil, errors.New("no kernels for this") }
	g := Gate{Memory: memory.Memory{Total: memory.Figure{Bytes: 13e9, Source: "all"}}}
	if _, err := g.Admit(n); err == nil || !strings.Contains(err.Error(), "50 % of the weights fit, and the rest is read from the disk again and again; give AllowPaging") {
		t.Error(err)
	}
}

// TestFromDisk: what every token reads stays if there is room for a token; of the rest
// as large a part as there is room for.
func TestFromDisk(t *testing.T) {
	dense, experts := Read{10, 10}, Read{5, 100}
	for _, c := range []struct {
		name  string
		reads []Read
		room  int64
		least float64
		most  float64
	}{
		{"no room", []Read{dense, experts}, 0, 15, 15},
		{"less than none", []Read{dense, experts}, -5, 15, 15},
		{"not quite a token's", []Read{dense, experts}, 14, 15, 15},
		{"a token's", []Read{dense, experts}, 15, 4.7, 4.8}, // the last token's experts: a twentieth is used again
		{"half the experts", []Read{dense, experts}, 60, 2.4, 2.6},
		{"nearly all", []Read{dense, experts}, 109, 0.01, 0.2},
		{"all", []Read{dense, experts}, 110, 0, 0},
		{"all is dense, and too little room", []Read{{10, 10}, {20, 20}}, 29, 30, 30},
		{"a table of which little is read", []Read{dense, {1, 1 << 50}}, 1 << 40, 0.99, 1},
	} {
		if got := fromDisk(c.reads, c.room); !(got >= c.least && got <= c.most) {
			t.Errorf("%s: %g from the disk, expected %g to %g", c.name, got, c.least, c.most)
		}
	}
	before := math.Inf(1)
	for room := int64(15); room <= 110; room++ {
		now := fromDisk([]Read{dense, experts}, room)
		if now > before {
			t.Errorf("more room (%d) gives more reads, %g after %g", room, now, before)
		}
		before = now
	}
}

// TestRate: files are measured, however few and small; what cannot be read is not.
func TestRate(t *testing.T) {
	dir := t.TempDir()
	for name, sizes := range map[string][]int64{"one byte": {1}, "empty and not": {0, 5000}, "larger": {3<<20 + 17, 9 << 20}} {
		var files []checkpoint.File
		for i, size := range sizes {
			path := filepath.Join(dir, fmt.Sprintf("%s %d", name, i))
			if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
				t.Fatal(err)
			}
			files = append(files, file{path, size})
		}
		if rate, how := diskRate(files); rate <= 0 || !strings.HasPrefix(how, "measured, ") {
			t.Errorf("%s: %g, %s", name, rate, how)
		}
	}
	for _, files := range [][]checkpoint.File{nil, {file{filepath.Join(dir, "none"), 9}}} {
		if rate, how := diskRate(files); rate != assumedRate || how != "assumed" {
			t.Errorf("%v: %g, %s", files, rate, how)
		}
	}
}

// file is where a file of weights lies.
type file struct {
	path string
	size int64
}

func (f file) Path() string                      { return f.path }
func (f file) Size() int64                       { return f.size }
func (f file) Bytes() []byte                     { return nil }
func (f file) ReadAt([]byte, int64) (int, error) { return 0, nil }
func (f file) ReadAhead(int64, int64)            {}
func (f file) Tensors() []container.Tensor       { return nil }
func (f file) HeaderHash() string                { return "" }
func (f file) Intact() error                     { return nil }
func (f file) StillAt(string) error              { return nil }
func (f file) Close() error                      { return nil }

// TestKept: what is kept of slots is a part like others, whose size the refusal gives; what
// can be spared is a quarter of what all else leaves free, of either figure, and at most 8 GiB.
func TestKept(t *testing.T) {
	figure := func(n int64, source string) memory.Figure { return memory.Figure{Bytes: n, Source: source} }
	enough := memory.Memory{Total: figure(23e9, "all"), Available: figure(3e9, "left")}
	plus := func(m memory.Memory, total, available int64) memory.Memory {
		m.Total.Bytes, m.Available.Bytes = m.Total.Bytes+total, m.Available.Bytes+available
		return m
	}
	for name, c := range map[string]struct {
		kept, times int64
		memory      memory.Memory
		want        int64
		err         string
		names       []string
	}{
		"none":                       {memory: enough},
		"what fits":                  {kept: 4e8, memory: plus(enough, 4e8, 4e8), want: 4e8},
		"a byte too many":            {kept: 64 << 20, memory: plus(enough, 1<<40, 64<<20-1), err: "(caches 2.00 GB, activations 1.00 GB, kept states 67.1 MB), and 3.07 GB are available (left): take CacheRAM 63MiB or less", names: []string{"CacheRAM"}},
		"too little to keep any":     {kept: 64 << 20, memory: plus(enough, 1<<40, 1<<20-1), err: "take CacheRAM 0", names: []string{"CacheRAM"}},
		"less of it is no help":      {kept: 1 << 30, memory: plus(enough, 1<<40, -1), err: "take CacheRAM 0; then Context for 2999999999", names: []string{"CacheRAM"}},
		"two bytes for each":         {kept: 64 << 20, times: 2, memory: plus(enough, 1<<40, 64<<20), err: "kept states 134.2 MB), and 3.07 GB are available (left): take CacheRAM 32MiB or less", names: []string{"CacheRAM"}},
		"weights would not fit":      {kept: 2 << 30, memory: plus(enough, 1<<30, 1<<40), err: "give AllowPaging to run all the same, or take CacheRAM 1024MiB or less", names: []string{"AllowPaging"}},
		"what can be spared":         {kept: Auto, memory: plus(enough, 1<<40, 400), want: 100},
		"of the tighter figure":      {kept: Auto, memory: plus(enough, 200, 400), want: 50},
		"of available alone":         {kept: Auto, memory: memory.Memory{Available: figure(3e9+80, "left")}, want: 20},
		"of all alone":               {kept: Auto, memory: memory.Memory{Total: figure(23e9+84, "all")}, want: 21},
		"two bytes for each, spared": {kept: Auto, times: 2, memory: plus(enough, 1<<40, 400), want: 50},
		"no more than 8 GiB":         {kept: Auto, memory: plus(enough, 1<<40, 1<<40), want: 8 << 30},
		"nothing is known":           {kept: Auto},
		"and nothing is left":        {kept: Auto, memory: enough},
	} {
		n := needs()
		n.Kept, n.KeptTimes = c.kept, c.times
		kept, err := (&Gate{Memory: c.memory, Rate: func([]checkpoint.File) (float64, string) { return 5e8, "a guess" }}).Admit(n)
		if c.err == "" {
			if err != nil || kept != c.want {
				t.Errorf("%s: %d, %v; expected %d", name, kept, err, c.want)
			}
			continue
		}
		var options *option.Error
		if err == nil || !strings.HasSuffix(err.Error(), c.err) || !errors.As(err, &options) || !slices.Equal(options.Names(), c.names) {
			t.Errorf("%s: %v\nexpected %s, of %v", name, err, c.err, c.names)
		}
	}
}

// TestWiredKept: where all must be in memory, the same counts beside the weights.
func TestWiredKept(t *testing.T) {
	for _, c := range []struct {
		kept, have, want int64
		err              string
	}{
		{0, 23e9, 0, ""},
		{1 << 30, 23e9 + 1<<30, 1 << 30, ""},
		{1 << 30, 23e9 + 1<<30 - 1, 0, "take CacheRAM 1023MiB or less"},
		{1 << 30, 23e9 - 1, 0, "a remedy"},
		{Auto, 23e9 + 400, 100, ""},
		{Auto, 23e9, 0, ""},
	} {
		n := needs()
		n.Kept = c.kept
		kept, err := Wired(n, c.have, "the card has", errors.New("a remedy"))
		if kept != c.want || (err == nil) != (c.err == "") || err != nil && !strings.HasSuffix(err.Error(), c.err) {
			t.Errorf("%d of %d: %d, %v; expected %d, %q", c.kept, c.have, kept, err, c.want, c.err)
		}
	}
}
