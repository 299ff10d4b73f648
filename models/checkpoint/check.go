package checkpoint

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"smelt.example/smelt/internal/message"
)

// collect joins the tensors of all files; a name may occur once.
func (c *Checkpoint) collect(findings *Findings) {
	n := 0
	for _, f := range c.Files {
		n += len(f.Tensors())
	}
	c.tensors = make([]Tensor, 0, n)
	for _, f := range c.Files {
		c.tensors = append(c.tensors, f.Tensors()...)
	}
	slices.SortFunc(c.tensors, func(a, b Tensor) int {
		if order := strings.Compare(a.Name, b.Name); order != 0 {
			return order
		}
		return strings.Compare(a.File.Path(), b.File.Path())
	})

	var twice []string
	for i := 1; i < len(c.tensors); i++ {
		if a, b := c.tensors[i-1], c.tensors[i]; a.Name == b.Name {
			twice = append(twice, fmt.Sprintf("%s in %s and %s", message.Quote(a.Name), base(a.File), base(b.File)))
		}
	}
	findings.AddEach("tensor", "in two files", "remove the file that does not belong here", twice)
}

// checkIndex compares what the index says with what the files hold. Both
// lists are sorted by name and walked side by side.
func (c *Checkpoint) checkIndex(name string, x *index, findings *Findings) {
	opened := map[string]bool{}
	for _, f := range c.Files {
		opened[base(f)] = true
	}
	var absent, elsewhere, unlisted []string
	entries, tensors := x.entries, c.tensors
	for len(entries) > 0 || len(tensors) > 0 {
		copies := sameName(tensors) // more than one is reported by collect
		switch order := compareHeads(entries, tensors); {
		case order < 0:
			// A file that could not be opened is reported itself.
			if e := entries[0]; opened[e.shard] {
				absent = append(absent, message.Quote(e.tensor)+" in "+e.shard)
			}
			entries = entries[1:]
		case order > 0:
			unlisted = append(unlisted, message.Quote(tensors[0].Name)+" in "+base(tensors[0].File))
			tensors = tensors[copies:]
		default:
			e, found := entries[0], base(tensors[0].File)
			if copies == 1 && found != e.shard {
				elsewhere = append(elsewhere, fmt.Sprintf("%s in %s, found in %s", message.Quote(e.tensor), e.shard, found))
			}
			entries, tensors = entries[1:], tensors[copies:]
		}
	}
	const advice = "the files are of different versions: download the index and the shards named here again"
	findings.AddEach("tensor", "in the index but not in the shard it names", advice, absent)
	findings.AddEach("tensor", "in another shard than the index says", advice, elsewhere)
	findings.AddEach("tensor", "in a shard but not in the index", advice, unlisted)
	c.noteTotal(name, x.totalSize)
}

// compareHeads says which list has the lower name in front, the index (-1) or
// the tensors (1); an exhausted list counts as highest.
func compareHeads(entries []indexEntry, tensors []Tensor) int {
	switch {
	case len(entries) == 0:
		return 1
	case len(tensors) == 0:
		return -1
	}
	return strings.Compare(entries[0].tensor, tensors[0].Name)
}

// sameName is how many tensors in front share one name.
func sameName(sorted []Tensor) int {
	n := 0
	for n < len(sorted) && sorted[n].Name == sorted[0].Name {
		n++
	}
	return n
}

// noteTotal compares metadata.total_size, which nothing depends on and which
// some converters get wrong.
func (c *Checkpoint) noteTotal(index, written string) {
	if written == "" {
		return
	}
	var total int64
	for i := range c.tensors {
		total += c.tensors[i].Bytes
	}
	if written != fmt.Sprint(total) {
		c.Notes = append(c.Notes, fmt.Sprintf("%s gives total_size %s, the tensors have %d bytes", index, message.Clip(written), total))
	}
}

func base(f File) string { return filepath.Base(f.Path()) }
