// Package formats lists the formats of weight files that smelt reads, and knows how
// their files are called.
package formats

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"smelt.example/smelt/internal/imposter"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/checkpoint/container"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/regular"
)

// All lists the formats of files that checkpoint.Open reads, one row each. A file is
// taken for what the end of its name says, and what it begins with must agree.
func All() Table {
	return Table{safetensors.Container()}
}

// A Table lists formats.
type Table []container.Format

// Of finds the format that a file's name says.
func (cs Table) Of(name string) (container.Format, bool) {
	i := slices.IndexFunc(cs, func(c container.Format) bool { return strings.HasSuffix(name, c.Extension) })
	if i < 0 {
		return container.Format{}, false
	}
	return cs[i], true
}

// Extensions lists how names of weight files end, with "or" between them.
func (cs Table) Extensions() string {
	var list []string
	for _, c := range cs {
		list = append(list, c.Extension)
	}
	return strings.Join(list, " or ")
}

// Open opens a file as what its name says, unless its first bytes are another
// format's. What lies in its place is named, an *imposter.Error, if that is plain.
func (cs Table) Open(path string) (container.File, error) {
	named, _ := cs.Of(path) // names without a format are not listed
	err := cs.checkMagic(path, named)
	if err == nil {
		var f container.File
		if f, err = named.Open(path); err == nil {
			return f, nil
		}
	}
	return nil, imposter.Explain(path, err)
}

// checkMagic compares the beginning of a file with what its format, and the
// others, begin with.
func (cs Table) checkMagic(path string, named container.Format) error {
	longest := 0
	for _, c := range cs {
		longest = max(longest, len(c.Magic))
	}
	if longest == 0 {
		return nil
	}
	f, _, err := regular.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	head := make([]byte, longest)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	begins := func(c container.Format) bool { return c.Magic != "" && strings.HasPrefix(string(head[:n]), c.Magic) }
	if begins(named) {
		return nil
	}
	if i := slices.IndexFunc(cs, begins); i >= 0 {
		return fmt.Errorf("%s: the name ends in %s, the file begins as %s does; rename it to end in %s", path, named.Extension, cs[i].Name, cs[i].Extension)
	}
	if named.Magic != "" {
		return fmt.Errorf("%s: found %s at its beginning, expected %s as in every %s file; download it again",
			path, message.Quote(string(head[:min(n, len(named.Magic))])), message.Quote(named.Magic), named.Name)
	}
	return nil
}

// In finds each format's files among a folder's names; hidden ones are left out.
func (cs Table) In(names []string) []Weights {
	var all []Weights
	for _, c := range cs {
		w := Weights{Extension: c.Extension}
		for _, name := range names {
			w.HasIndex = w.HasIndex || name == w.Index()
			if strings.HasSuffix(name, c.Extension) && !strings.HasPrefix(name, ".") {
				w.Present = append(w.Present, name)
			}
		}
		slices.Sort(w.Present)
		all = append(all, w)
	}
	return all
}
