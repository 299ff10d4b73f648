package checkpoint

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/strictjson"
)

// index is the content of model.safetensors.index.json.
type index struct {
	entries   []indexEntry // sorted by tensor
	shards    []string     // sorted
	totalSize string       // metadata.total_size as written, "" if absent
}

type indexEntry struct{ tensor, shard string }

// parseIndex reads an index file. Errors do not name the file. Fields other
// than weight_map and metadata.total_size are of no interest here, and may hold
// anything; what is read and appears twice is refused, for one of the two would
// be lost.
func parseIndex(raw []byte, extension string) (*index, error) {
	shards := map[string]string{}
	p := indexParser{extension: extension, Reader: strictjson.NewLaxReader(raw, shards), shards: shards, seen: map[string]bool{}}
	p.index.entries = make([]indexEntry, 0, bytes.Count(raw, []byte(extension)))
	if err := p.file(); err != nil {
		return nil, describeJSON(err)
	}
	if !p.hasMap {
		return nil, errors.New(`weight_map is missing: this is not a safetensors index`)
	}
	if len(p.bad) > 0 {
		return nil, fmt.Errorf("weight_map may only name %s files beside the index, not %s", extension, strings.Join(p.bad, ", "))
	}
	p.index.shards = slices.Sorted(maps.Keys(p.shards))
	if n := len(p.index.shards); n > maxShards {
		return nil, fmt.Errorf("weight_map names %d files, at most %d are opened", n, maxShards)
	}
	slices.SortFunc(p.index.entries, func(a, b indexEntry) int { return cmp.Compare(a.tensor, b.tensor) })
	for i, e := range p.index.entries {
		if i > 0 && e.tensor == p.index.entries[i-1].tensor {
			return nil, twice("weight_map", e.tensor)
		}
	}
	return &p.index, nil
}

type indexParser struct {
	strictjson.Reader
	extension string // of the files it may name
	index     index
	shards    map[string]string // name to itself, known to the reader: entries share them
	bad       []string          // file names refused, quoted, at most a few
	hasMap    bool
	seen      map[string]bool // of the keys that are read, but for tensors
}

// once refuses a key that was read before.
func (p *indexParser) once(object, key string) error {
	if p.seen[key] {
		return twice(object, key)
	}
	p.seen[key] = true
	return nil
}

func twice(object, key string) error {
	return fmt.Errorf("%s has the key %s twice", object, message.Quote(key))
}

func (p *indexParser) file() error {
	if err := p.object("the index", p.topLevel); err != nil {
		return err
	}
	_, err := p.ReadToken()
	switch {
	case err == io.EOF:
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("a second JSON value follows the index at byte %d", p.InputOffset())
}

func (p *indexParser) topLevel(key string) error {
	switch key {
	case "weight_map":
		p.hasMap = true
		if err := p.once("the index", key); err != nil {
			return err
		}
		return p.object(key, p.mapping)
	case "metadata":
		if err := p.once("the index", key); err != nil {
			return err
		}
		if p.PeekKind() == jsontext.KindNull {
			return p.SkipValue()
		}
		return p.object(key, p.metadata)
	}
	return p.SkipValue()
}

func (p *indexParser) metadata(key string) error {
	if key != "total_size" {
		return p.SkipValue()
	}
	if err := p.once("metadata", key); err != nil {
		return err
	}
	value, err := p.ReadValue()
	p.index.totalSize = string(value)
	return err
}

func (p *indexParser) mapping(tensor string) error {
	if got, yes := p.Mismatch(jsontext.KindString); yes {
		return fmt.Errorf("weight_map[%s] is %s, expected a file name", message.Quote(tensor), strictjson.KindName(got))
	}
	shard, err := p.Text()
	if err != nil {
		return err
	}
	if _, known := p.shards[shard]; !known {
		p.shards[shard] = shard
		if !plainFileName(shard, p.extension) && len(p.bad) < 5 {
			p.bad = append(p.bad, fmt.Sprintf("%q (tensor %q)", message.Clip(shard), message.Clip(tensor)))
		}
	}
	p.index.entries = append(p.index.entries, indexEntry{tensor, shard})
	return nil
}

// object reads an object, or says that what is not one.
func (p *indexParser) object(what string, member func(key string) error) error {
	if got, yes := p.Mismatch(jsontext.KindBeginObject); yes {
		return fmt.Errorf("%s is %s, expected an object", what, strictjson.KindName(got))
	}
	return p.Object(member)
}

// plainFileName reports whether name is that of a file of weights in the
// same folder: an index from elsewhere must not lead out of it.
func plainFileName(name, extension string) bool {
	return strings.HasSuffix(name, extension) && len(name) <= 255 &&
		!strings.HasPrefix(name, ".") && !strings.ContainsAny(name, "/\\:\x00")
}

// describeJSON turns an error of the JSON package into a short sentence with its
// place.
func describeJSON(err error) error {
	var syntax *jsontext.SyntacticError
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &syntax) {
		return errors.New("found " + strictjson.Describe(err))
	}
	return err
}
