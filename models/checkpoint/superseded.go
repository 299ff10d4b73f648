package checkpoint

import (
	"fmt"
	"slices"
	"strings"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/checkpoint/formats"
	"smelt.example/smelt/internal/models/schema"
)

// superseded is a run of tensors of one file in whose place the index names copies in
// another one.
type superseded struct {
	file, by File
	names    []string
	bytes    int64
}

// chosen is which of a tensor's copies the index names, -1 if it names none of them or
// there is no index.
func (x *index) chosen(copies []Tensor) int {
	if x == nil || len(copies) == 1 {
		return -1
	}
	i, ok := slices.BinarySearchFunc(x.entries, copies[0].Name, func(e indexEntry, name string) int { return strings.Compare(e.tensor, name) })
	if !ok {
		return -1
	}
	return slices.IndexFunc(copies, func(t Tensor) bool { return base(t.File) == x.entries[i].shard })
}

// supersede sets aside all copies of a tensor but the chosen one.
func (c *Checkpoint) supersede(copies []Tensor, chosen int) {
	by := copies[chosen].File
	for i, t := range copies {
		if i == chosen {
			continue
		}
		k := slices.IndexFunc(c.superseded, func(s superseded) bool { return s.file == t.File && s.by == by })
		if k < 0 {
			k = len(c.superseded)
			c.superseded = append(c.superseded, superseded{file: t.File, by: by})
		}
		s := &c.superseded[k]
		s.names = append(s.names, t.Name)
		s.bytes += t.Bytes
	}
}

// ignored is the run as Bind lists what is left unused, and a note with the names.
func (s *superseded) ignored() (Ignored, string) {
	prefix, _ := schema.Generalise(s.names[0])
	for _, name := range s.names[1:] {
		pattern, _ := schema.Generalise(name)
		for !strings.HasPrefix(pattern, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	reason := fmt.Sprintf("superseded in %s by the copies in %s, which the index names", base(s.file), base(s.by))
	note := fmt.Sprintf("%s: %s (%s) not used, superseded by the copies in %s, which the index names: %s", base(s.file), message.Count(len(s.names), "tensor"),
		message.Bytes(s.bytes), base(s.by), message.List(s.names))
	return Ignored{Prefix: prefix, Reason: reason, Tensors: len(s.names), Bytes: s.bytes}, note
}

// openStrays opens the files of the set that the index does not name: they may hold
// nothing but what is superseded.
func openStrays(cs formats.Table, set fileSet) (open []File, unreadable []string) {
	for _, name := range set.strays {
		var errs Findings
		files := openFiles(cs, set.dir, []string{name}, &errs)
		if errs.Err() != nil {
			unreadable = append(unreadable, name)
		}
		open = append(open, files...)
	}
	return open, unreadable
}

// dropStrays reports strays of which a tensor counts, or that could not be read, and
// leaves their tensors out.
func (c *Checkpoint) dropStrays(set fileSet, strays []File, names []string, findings *Findings) {
	for _, f := range strays {
		ofFile := func(t Tensor) bool { return t.File == f }
		if slices.ContainsFunc(c.tensors, ofFile) || len(f.Tensors()) == 0 {
			names = append(names, base(f))
			c.tensors = slices.DeleteFunc(c.tensors, ofFile)
		}
	}
	slices.Sort(names)
	findings.AddEach("shard", "of the same set not named by "+set.Index(), "download the index again or remove the files", names)
}

// checkOthers refuses files beside a checkpoint without an index that hold some of its
// tensors too: nothing says which copy counts.
func (c *Checkpoint) checkOthers(cs formats.Table, set fileSet, findings *Findings) {
	var twice []string
	for _, name := range set.others {
		var errs Findings
		for _, f := range openFiles(cs, set.dir, []string{name}, &errs) {
			for _, t := range f.Tensors() {
				if own, ok := c.Lookup(t.Name); ok {
					twice = append(twice, fmt.Sprintf("%s in %s and %s", message.Quote(t.Name), base(own.File), name))
				}
			}
			f.Close() // its header is all that was of use
		}
	}
	findings.AddEach("tensor", "in two files, and no "+set.Index()+" to say which counts", "add the index, remove the file that does not belong here, or give the path of a single file", twice)
}
