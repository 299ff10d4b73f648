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

	"smelt/models/checkpoint/internal/message"
	"smelt/models/checkpoint/internal/strictjson"
)

// index is the content of model.safetensors.index.json.
type index struct {
	entries   []indexEntry // sorted by tensor
	shards    []string     // sorted
	totalSize string       // metadata.total_size as written, "" if absent
}

type indexEntry struct{ tensor, shard string }

// parseIndex reads an index file. Errors do not name the file. Fields other
// than weight_map and metadata.total_size are of no interest here; what
// appears twice anywhere is refused, for one of the two would be lost.
func parseIndex(raw []byte) (*index, error) {
	shards := map[string]string{}
	p := indexParser{Reader: strictjson.NewReader(raw, shards), shards: shards}
	p.index.entries = make([]indexEntry, 0, bytes.Count(raw, []byte(extension)))
	if err := p.file(); err != nil {
		return nil, describeJSON(err)
	}
	if !p.hasMap {
		return nil, errors.New(`weight_map is missing: this is not a safetensors index`)
	}
	if len(p.bad) > 0 {
		return nil, fmt.Errorf("weight_map may only name .safetensors files beside the index, not %s", strings.Join(p.bad, ", "))
	}
	p.index.shards = slices.Sorted(maps.Keys(p.shards))
	slices.SortFunc(p.index.entries, func(a, b indexEntry) int { return cmp.Compare(a.tensor, b.tensor) })
	return &p.index, nil
}

type indexParser struct {
	strictjson.Reader
	index  index
	shards map[string]string // name to itself, known to the reader: entries share them
	bad    []string          // file names refused, quoted, at most a few
	hasMap bool
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
		return p.object(key, p.mapping)
	case "metadata":
		if p.PeekKind() == jsontext.KindNull {
			return p.SkipValue()
		}
		return p.object(key, p.metadata)
	}
	return p.SkipValue()
}

func (p *indexParser) metadata(key string) error {
	value, err := p.ReadValue()
	if key == "total_size" && err == nil {
		p.index.totalSize = string(value)
	}
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
		if !plainFileName(shard) && len(p.bad) < 5 {
			p.bad = append(p.bad, message.Quote(shard)+" (tensor "+message.Quote(tensor)+")")
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

// plainFileName reports whether name is that of a .safetensors file in the
// same folder: an index from elsewhere must not lead out of it.
func plainFileName(name string) bool {
	return strings.HasSuffix(name, extension) && len(name) <= 255 &&
		!strings.HasPrefix(name, ".") && !strings.ContainsAny(name, "/\\:\x00")
}

// describeJSON turns a syntax error into a sentence with its place.
func describeJSON(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return errors.New("invalid JSON: the file ends too early; download it again")
	case !errors.As(err, &syntax):
		return err
	case errors.Is(err, jsontext.ErrDuplicateName):
		return fmt.Errorf("key %s appears twice (byte %d)", message.Quote(syntax.JSONPointer.LastToken()), syntax.ByteOffset)
	}
	return fmt.Errorf("invalid JSON at byte %d: %w", syntax.ByteOffset, syntax.Err)
}
