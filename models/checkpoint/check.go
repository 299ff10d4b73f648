package checkpoint

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"smelt.example/smelt/internal/message"
)

// collect joins the tensors of all files. A name may occur once, or the index says
// which of its copies counts.
func (c *Checkpoint) collect(list *index, findings *Findings) {
	n := 0
	for _, f := range c.Files {
		n += len(f.Tensors())
	}
	all := make([]Tensor, 0, n)
	for _, f := range c.Files {
		all = append(all, f.Tensors()...)
	}
	slices.SortFunc(all, func(a, b Tensor) int {
		if order := strings.Compare(a.Name, b.Name); order != 0 {
			return order
		}
		return strings.Compare(a.File.Path(), b.File.Path())
	})

	var twice []string
	c.tensors = all[:0]
	for len(all) > 0 {
		copies := all[:sameName(all)]
		all = all[len(copies):]
		if chosen := list.chosen(copies); chosen >= 0 {
			c.supersede(copies, chosen)
			copies = copies[chosen : chosen+1]
		}
		for i := 1; i < len(copies); i++ {
			a, b := copies[i-1], copies[i]
			twice = append(twice, fmt.Sprintf("%s in %s and %s", message.Quote(a.Name), base(a.File), base(b.File)))
		}
		c.tensors = append(c.tensors, copies...)
	}
	advice := "remove the file that does not belong here"
	if list != nil {
		advice += ", or correct the index, which places it in neither"
	}
	findings.AddEach("tensor", "in two files", advice, twice)
}

// checkIndex compares what the index says with what the files hold. Both
// lists are sorted by name and walked side by side.
func (c *Checkpoint) checkIndex(set fileSet, findings *Findings) {
	opened := map[string]bool{}
	for _, f := range c.Files {
		opened[base(f)] = true
	}
	c.absent = absent{index: set.Index(), advice: set.missingAdvice}
	missing := make(map[string]int, len(set.missing))
	for i, name := range set.missing {
		missing[name] = i
		c.absent.shards = append(c.absent.shards, absentShard{name: name})
	}
	var elsewhere, unlisted []string
	entries, tensors := set.list.entries, c.tensors
	for len(entries) > 0 || len(tensors) > 0 {
		copies := sameName(tensors) // more than one is reported by collect
		switch order := compareHeads(entries, tensors); {
		case order < 0:
			// A file that could not be opened is reported itself.
			e := entries[0]
			if i, gone := missing[e.shard]; gone {
				c.absent.shards[i].tensors = append(c.absent.shards[i].tensors, e.tensor)
			} else if opened[e.shard] {
				c.absent.stripped = append(c.absent.stripped, e)
			}
			entries = entries[1:]
		case order > 0:
			unlisted = append(unlisted, message.Quote(tensors[0].Name)+" in "+base(tensors[0].File))
			tensors = tensors[copies:]
		default:
			e, found := entries[0], base(tensors[0].File)
			if copies == 1 && found != e.shard {
				gone := ""
				if _, is := missing[e.shard]; is {
					gone = " (not in the folder)"
				}
				elsewhere = append(elsewhere, fmt.Sprintf("%s in %s%s, found in %s", message.Quote(e.tensor), e.shard, gone, found))
			}
			entries, tensors = entries[1:], tensors[copies:]
		}
	}
	findings.AddEach("tensor", "in another shard than the index says", otherVersions, elsewhere)
	findings.AddEach("tensor", "in a shard but not in the index", otherVersions, unlisted)
	if len(c.superseded)+len(c.absent.stripped)+len(c.absent.shards) == 0 { // which would explain it
		c.noteTotal(set.Index(), set.list.totalSize)
	}
}

const otherVersions = "the files are of different versions: download the index and the shards named here again"

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
