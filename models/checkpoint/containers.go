package checkpoint

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/checkpoint/container"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/regular"
)

// A File is one file of weights, whatever its format.
type File = container.File

// A Tensor is a tensor of one of the checkpoint's files.
type Tensor = container.Tensor

// Containers lists the formats of files that Open reads, one row each. A file is
// taken for what the end of its name says, and what it begins with must agree.
func Containers() []container.Format {
	return []container.Format{safetensors.Container()}
}

// containers is a table in use.
type containers []container.Format

// of finds the format that a file's name says.
func (cs containers) of(name string) (container.Format, bool) {
	i := slices.IndexFunc(cs, func(c container.Format) bool { return strings.HasSuffix(name, c.Extension) })
	if i < 0 {
		return container.Format{}, false
	}
	return cs[i], true
}

// extensions lists how names of weight files end, with "or" between them.
func (cs containers) extensions() string {
	var list []string
	for _, c := range cs {
		list = append(list, c.Extension)
	}
	return strings.Join(list, " or ")
}

// open opens a file as what its name says, unless its first bytes are another
// format's.
func (cs containers) open(path string) (File, error) {
	named, _ := cs.of(path) // names without a format are not listed
	if err := cs.checkMagic(path, named); err != nil {
		return nil, err
	}
	return named.Open(path)
}

// checkMagic compares the beginning of a file with what its format, and the
// others, begin with.
func (cs containers) checkMagic(path string, named container.Format) error {
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

// weights are the files of one format in a folder, and how its files are called.
// The names are Hugging Face's, whatever the extension: model.safetensors, or
// model-00001-of-00002.safetensors and so on with an index.
type weights struct {
	extension string
	present   []string // sorted
	hasIndex  bool
}

func (w weights) single() string { return "model" + w.extension }
func (w weights) index() string  { return w.single() + ".index.json" }
func (w weights) expected() string {
	return fmt.Sprintf("%s, %s and model-00001-of-0000N%s", w.index(), w.single(), w.extension)
}

// in finds each format's files among a folder's names; hidden ones are left out.
func (cs containers) in(names []string) []weights {
	var all []weights
	for _, c := range cs {
		w := weights{extension: c.Extension}
		for _, name := range names {
			w.hasIndex = w.hasIndex || name == w.index()
			if strings.HasSuffix(name, c.Extension) && !strings.HasPrefix(name, ".") {
				w.present = append(w.present, name)
			}
		}
		slices.Sort(w.present)
		all = append(all, w)
	}
	return all
}
