package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"smelt.example/smelt/internal/models/checkpoint/formats"
	"smelt.example/smelt/internal/regular"
	"smelt.example/smelt/models/tokenizer"
)

// tokenizeOptions are the flags of `smelt tokenize`.
type tokenizeOptions struct {
	text             string
	hasText          bool
	decode, ordinary bool
	json             bool
}

// tokenizeReport is the output of --json, the same for both directions.
type tokenizeReport struct {
	Text string  `json:"text"`
	IDs  []int32 `json:"ids"`
	// Tokens holds each id's spelling in tokenizer.json, "Ġthe" for " the".
	Tokens []string `json:"tokens"`
}

func newTokenize(io stdio) *cobra.Command {
	var o tokenizeOptions
	cmd := &cobra.Command{
		Use:   "tokenize CHECKPOINT",
		Short: "Turn text into token ids, or ids into text with --decode",
		Long: `Tokenize reads text from standard input and prints its token ids as a JSON
array. Nothing is added: no begin-of-sentence token, and a line break at the end
of the input is a part of the text.

Special tokens that the text spells, such as <｜User｜>, become their ids;
--ordinary takes them as plain text, which is right for words of a user.

With --decode it reads ids, as a JSON array or separated by white space or
commas, and prints their text exactly, special tokens included and with no line
break added. Bytes that are not valid UTF-8 become U+FFFD.

CHECKPOINT is a folder with tokenizer.json, a .safetensors file beside one, or
the tokenizer.json itself. The weights are not opened.`,
		Example: `  echo -n "Once upon a time" | smelt tokenize examples/storyteller/checkpoint
  smelt tokenize CHECKPOINT --text "Hello" --json | jq -c .tokens
  smelt tokenize CHECKPOINT < chapter.txt | jq length
  smelt tokenize CHECKPOINT < chapter.txt | smelt tokenize CHECKPOINT --decode | cmp - chapter.txt`,
		Args:              oneCheckpoint,
		ValidArgsFunction: completeCheckpoint("json"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.hasText = cmd.Flags().Changed("text")
			return tokenize(cmd.Context(), io, args[0], o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&o.text, "text", "t", "", "text to encode (default: standard input)")
	f.BoolVarP(&o.decode, "decode", "d", false, "read token ids and print text")
	f.BoolVar(&o.ordinary, "ordinary", false, "do not recognise special tokens in the text")
	f.BoolVar(&o.json, "json", false, "print one JSON object with text, ids and tokens")
	return cmd
}

func tokenize(ctx context.Context, io stdio, path string, o tokenizeOptions) error {
	switch {
	case o.decode && o.hasText:
		return fmt.Errorf("--text contradicts --decode, which reads token ids from standard input; leave one of them out")
	case o.decode && o.ordinary:
		return fmt.Errorf("--ordinary contradicts --decode: ids name their tokens already; leave one of them out")
	}
	tok, err := readTokenizer(io, func() (*tokenizer.Tokenizer, error) { return tokenizerAt(path) })
	if err != nil {
		return err
	}
	text, source := o.text, "--text"
	if !o.hasText {
		source = "standard input"
		if text, err = inputText(ctx, io.in, o.decode); err != nil {
			return err
		}
	}
	defer io.wait("tokenizing")()
	if o.decode {
		return decodeIDs(io.out, tok, text, source, o.json)
	}
	return encodeText(io.out, tok, text, source, o)
}

// inputText reads standard input, but does not leave a person waiting at a
// terminal for something they do not know of.
func inputText(ctx context.Context, in io.Reader, decode bool) (string, error) {
	if isTerminal(in) {
		if decode {
			return "", fmt.Errorf("no token ids: pipe a JSON array of them into standard input")
		}
		return "", fmt.Errorf("no text: give --text TEXT or pipe a text into standard input")
	}
	return readText(ctx, in, "standard input")
}

func encodeText(w io.Writer, tok *tokenizer.Tokenizer, text, source string, o tokenizeOptions) error {
	encode := tok.Encode
	if o.ordinary {
		encode = tok.EncodeOrdinary
	}
	ids, err := encode(text)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	if ids == nil {
		ids = []int32{} // an empty text is [] in JSON, not null
	}
	if o.json {
		return reportTokens(w, tok, text, ids)
	}
	return json.NewEncoder(w).Encode(ids)
}

func decodeIDs(w io.Writer, tok *tokenizer.Tokenizer, list, source string, asJSON bool) error {
	ids, err := parseTokens(list, source)
	if err != nil {
		return err
	}
	text, err := tok.Decode(ids)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	if asJSON {
		return reportTokens(w, tok, text, ids)
	}
	_, err = io.WriteString(w, text)
	return err
}

func reportTokens(w io.Writer, tok *tokenizer.Tokenizer, text string, ids []int32) error {
	r := tokenizeReport{Text: text, IDs: ids, Tokens: make([]string, len(ids))}
	for i, id := range ids {
		r.Tokens[i], _ = tok.Token(id) // Encode and Decode know every id
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // special tokens are full of < and >
	return e.Encode(r)
}

const tokenizerName = "tokenizer.json"

// tokenizerAt opens the tokenizer that an argument names: in a folder, beside
// a .safetensors file, or the file itself.
func tokenizerAt(path string) (*tokenizer.Tokenizer, error) {
	info, err := regular.Stat(path)
	if errors.As(err, new(*regular.LinkError)) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w; give a folder with %s, or that file", err, tokenizerName)
	}
	file := path
	switch {
	case info.IsDir():
		file = filepath.Join(path, tokenizerName)
	case formats.IsWeights(path):
		file = filepath.Join(filepath.Dir(path), tokenizerName)
	}
	tok, err := tokenizer.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no %s in this folder; copy it from where the model came from, or give the path of one", filepath.Dir(file), tokenizerName)
	}
	return tok, err
}
