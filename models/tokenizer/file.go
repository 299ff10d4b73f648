package tokenizer

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/strictjson"
)

// fileJSON is tokenizer.json. Components that come in several types stay raw
// until their "type" is known.
type fileJSON struct {
	version       string
	truncation    jsontext.Value
	padding       jsontext.Value
	addedTokens   jsontext.Value
	normalizer    jsontext.Value
	preTokenizer  jsontext.Value
	postProcessor jsontext.Value
	decoder       jsontext.Value
	model         *modelJSON
}

// UnmarshalJSONFrom reads the whole file.
func (f *fileJSON) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return readMembers(dec, "the file", map[string]any{
		"version":        &f.version,
		"truncation":     &f.truncation,
		"padding":        &f.padding,
		"added_tokens":   &f.addedTokens,
		"normalizer":     &f.normalizer,
		"pre_tokenizer":  &f.preTokenizer,
		"post_processor": &f.postProcessor,
		"decoder":        &f.decoder,
		"model":          &f.model,
	})
}

// addedJSON is one entry of added_tokens.
type addedJSON struct {
	ID         *int32 `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// modelJSON is the model of a BPE file.
type modelJSON struct {
	typ          modelType
	dropout      *float64
	unkToken     *string
	prefix       *string // continuing_subword_prefix
	suffix       *string // end_of_word_suffix
	fuseUnk      bool
	byteFallback bool
	ignoreMerges bool
	vocab        vocabulary
	merges       mergeList
}

// UnmarshalJSONFrom reads the model member.
func (m *modelJSON) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return readMembers(dec, "model", map[string]any{
		"type":                      &m.typ,
		"dropout":                   &m.dropout,
		"unk_token":                 &m.unkToken,
		"continuing_subword_prefix": &m.prefix,
		"end_of_word_suffix":        &m.suffix,
		"fuse_unk":                  &m.fuseUnk,
		"byte_fallback":             &m.byteFallback,
		"ignore_merges":             &m.ignoreMerges,
		"vocab":                     &m.vocab,
		"merges":                    &m.merges,
	})
}

// decodeFile reads a tokenizer.json. The JSON package's search for duplicate
// members is off, as it takes a quarter of the time; readMembers and vocabulary
// do their own, and decodeJSON searches the raw members.
func decodeFile(data []byte, f *fileJSON) error {
	doc := strictjson.NewDocument(data)
	if err := doc.Refuse(isRead); err != nil {
		return explain("", err)
	}
	return explain("", json.Unmarshal(doc.Plain, f, jsontext.AllowDuplicateNames(true)))
}

// isRead reports whether the value at a place counts: all of a file does, but for
// what post-processors and decoders hold besides their type.
func isRead(at jsontext.Pointer) bool {
	if name := at.LastToken(); name == "type" || name == "processors" || name == "decoders" {
		return true
	}
	return !strings.HasPrefix(string(at), "/post_processor/") && !strings.HasPrefix(string(at), "/decoder/")
}

// readMembers reads an object whose members are all in targets, each at most
// once. Like decodeJSON it refuses others, as they may change the ids.
func readMembers(dec *jsontext.Decoder, where string, targets map[string]any) error {
	if kind := dec.PeekKind(); kind != '{' && kind != 0 {
		return refuse("%s is a JSON %s; expected an object", where, kindName(kind))
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for dec.PeekKind() != '}' {
		tok, err := dec.ReadToken()
		if err != nil {
			return err
		}
		name := tok.String()
		target, ok := targets[name]
		if !ok {
			return refuse("%s has a member %.80q, which is not supported", where, name)
		}
		if seen[name] {
			return refuse("%s has the member %.80q twice", where, name)
		}
		seen[name] = true
		if err := json.UnmarshalDecode(dec, target); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// decodeJSON reads a small part of the file, named where, strictly: unknown and
// duplicate members are refused.
func decodeJSON(data []byte, where string, v any) error {
	return explain(where, json.Unmarshal(data, v, json.RejectUnknownMembers(true)))
}

// modelType refuses other models as soon as their type is read, before members
// that only they have are met.
type modelType string

// UnmarshalJSONFrom reads the type and refuses every type but BPE.
func (m *modelType) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	tok, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if tok.Kind() != '"' || tok.String() != "BPE" {
		return refuse("model.type is %.80q; only \"BPE\" is supported", tok.String())
	}
	*m = "BPE"
	return nil
}

// vocabulary is model.vocab.
type vocabulary struct {
	ids    map[string]int32
	tokens []string // by id, "" where there is none
}

// UnmarshalJSONFrom reads {"token": id, ...}.
func (v *vocabulary) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if kind := dec.PeekKind(); kind != '{' && kind != 0 {
		return refuse("model.vocab is a JSON %s; expected an object that maps each token to its id (is model.type really BPE?)", kindName(kind))
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	var entries []vocabularyEntry
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		token := name.String()
		value, err := dec.ReadValue()
		if err != nil {
			return err
		}
		id, err := strconv.ParseUint(string(value), 10, 31)
		if err != nil || id >= maxVocabulary {
			return refuse("model.vocab: token %.80q has id %.40s; expected an integer from 0 to %d", token, value, maxVocabulary-1)
		}
		entries = append(entries, vocabularyEntry{token, int32(id)})
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	return v.fill(entries)
}

type vocabularyEntry struct {
	token string
	id    int32
}

func (v *vocabulary) fill(entries []vocabularyEntry) error {
	size := int32(0)
	for _, e := range entries {
		size = max(size, e.id+1)
	}
	v.tokens = make([]string, size)
	v.ids = make(map[string]int32, len(entries))
	for i, e := range entries {
		if err := checkTokenText("model.vocab", e.token); err != nil {
			return err
		}
		if other := v.tokens[e.id]; other != "" {
			return refuse("model.vocab: tokens %.80q and %.80q both have id %d; every id may be used once", other, e.token, e.id)
		}
		v.tokens[e.id] = e.token
		v.ids[e.token] = e.id
		if len(v.ids) != i+1 {
			return refuse("model.vocab has token %.80q twice", e.token)
		}
	}
	return nil
}

// mergePair is one entry of model.merges.
type mergePair struct{ left, right string }

// mergeList is model.merges, in order of rank.
type mergeList []mergePair

// UnmarshalJSONFrom reads a list of "left right" or a list of ["left", "right"].
func (m *mergeList) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if kind := dec.PeekKind(); kind != '[' && kind != 0 {
		return refuse("model.merges is a JSON %s; expected an array", kindName(kind))
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	*m = mergeList{}
	spelling := dec.PeekKind()
	for dec.PeekKind() != ']' {
		if len(*m) == maxMerges {
			return refuse("model.merges has more than the %d entries accepted", maxMerges)
		}
		if kind := dec.PeekKind(); kind != spelling && kind != 0 {
			return refuse("model.merges[%d] is a JSON %s after entries that are a JSON %s; all must be spelled alike", len(*m), kindName(kind), kindName(spelling))
		}
		pair, err := readMerge(dec, len(*m))
		if err != nil {
			return err
		}
		// Written by tools that copied a merges.txt with its heading; the
		// Hugging Face library skips such an entry too.
		if spelling == '"' && strings.HasPrefix(pair.left, "#version") {
			continue
		}
		*m = append(*m, pair)
	}
	_, err := dec.ReadToken()
	return err
}

func readMerge(dec *jsontext.Decoder, index int) (mergePair, error) {
	if dec.PeekKind() == '[' {
		var parts []string
		if err := json.UnmarshalDecode(dec, &parts); err != nil {
			return mergePair{}, err
		}
		if len(parts) != 2 {
			return mergePair{}, refuse("model.merges[%d] has %d parts; expected 2", index, len(parts))
		}
		return mergePair{parts[0], parts[1]}, nil
	}
	tok, err := dec.ReadToken()
	if err != nil {
		return mergePair{}, err
	}
	if tok.Kind() != '"' {
		return mergePair{}, refuse("model.merges[%d] is a JSON %s; expected \"left right\" or [\"left\", \"right\"]", index, kindName(tok.Kind()))
	}
	text := tok.String()
	left, right, found := strings.Cut(text, " ")
	if !found || strings.Contains(right, " ") {
		return mergePair{}, refuse("model.merges[%d] is %.80q; expected two tokens with one space between them", index, text)
	}
	return mergePair{left, right}, nil
}

func checkTokenText(where, token string) error {
	if token == "" {
		return refuse("%s: a token has an empty text; expected at least one character", where)
	}
	if len(token) > maxTokenBytes {
		return refuse("%s: token %.40q... has %d bytes, more than the %d accepted", where, token, len(token), maxTokenBytes)
	}
	return nil
}

func kindName(kind jsontext.Kind) string {
	switch kind {
	case 'n':
		return "null"
	case 't', 'f':
		return "boolean"
	case '"':
		return "string"
	case '0':
		return "number"
	case '{':
		return "object"
	case '[':
		return "array"
	}
	return "value"
}
