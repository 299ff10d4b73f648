package smelt

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"unicode/utf8"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/models"
	"smelt.example/smelt/models/tokenizer"
	"smelt.example/smelt/runtime/sampling"
)

// Files are the files of a model: weights, tokenizer, suggestions and, of a bundle,
// compiled kernels. They are for programs that do more than generate, or want to
// look before they open a device. Methods are safe for concurrent use.
type Files struct {
	Model  *models.Model
	Bundle *bundle.Bundle // nil if the path was a checkpoint's

	tokenizer func() (*tokenizer.Tokenizer, error)
	hints     func() (hints, error)
	ends      func() (stopSet, error)
	allowed   func() (*pick.Mask, error)
	closed    func() error
}

// OpenFiles opens a checkpoint, or a bundle with the checkpoint that it was compiled
// from. No weight is read. The error lists everything that is wrong; it is an
// *UnknownModelError if smelt does not know the architecture.
func OpenFiles(path string) (*Files, error) {
	if bundle.IsBundle(path) {
		b, err := bundle.Read(path)
		if err != nil {
			return nil, err
		}
		return OpenBundle(b)
	}
	m, err := models.Open(path, models.Options{})
	if err != nil {
		return nil, err
	}
	return newFiles(m, nil), nil
}

// OpenBundle is OpenFiles for a bundle that has been read. The error is a
// *CheckpointError if its checkpoint does not open.
func OpenBundle(b *bundle.Bundle) (*Files, error) {
	m, err := models.Open(b.Checkpoint, models.Options{})
	if err != nil {
		return nil, &CheckpointError{b.Dir, err}
	}
	if err := b.Bind(bundle.SourceOf(m)); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return newFiles(m, b), nil
}

func newFiles(m *models.Model, b *bundle.Bundle) *Files {
	f := &Files{Model: m, Bundle: b,
		tokenizer: sync.OnceValues(m.Tokenizer),
		hints:     sync.OnceValues(func() (hints, error) { return readHints(m.Checkpoint.Dir) }),
		closed:    sync.OnceValue(m.Close),
	}
	f.ends, f.allowed = sync.OnceValues(f.readEnds), sync.OnceValues(f.readAllowed)
	return f
}

// Close unmaps the weights. Closing again does nothing.
func (f *Files) Close() error { return f.closed() }

// Source is the model as the compiler takes it.
func (f *Files) Source() bundle.Source { return bundle.SourceOf(f.Model) }

// Tokenizer is the model's. The error is an ErrNoTokenizer if there is none.
func (f *Files) Tokenizer() (*tokenizer.Tokenizer, error) { return f.tokenizer() }

// Suggested is how the checkpoint's generation_config.json suggests to sample;
// without that file the most likely token. The error joins an *OptionError for each
// suggestion that makes no sense; the others are there nevertheless.
func (f *Files) Suggested() (sampling.Params, error) {
	h, err := f.hints()
	if err != nil {
		return sampling.Greedy(), err
	}
	return h.sampling(true)
}

const stopStringsOption = option.Name("StopStrings")

// StopStrings are the texts that generation_config.json suggests to end a text before.
// The error is as Suggested's.
func (f *Files) StopStrings() ([]string, error) {
	h, err := f.hints()
	if err != nil {
		return nil, err
	}
	return slices.Clone(h.stop), h.wrong(func(n option.Name) bool { return n == stopStringsOption })
}

// Notes are sentences about what the checkpoint's files ask for beside the weights and
// smelt does not do. They come after Suggested and Stop, which find what is wrong. What is
// odd about the weights is in Model.Notes and Model.Binding.Notes.
func (f *Files) Notes() []string {
	var notes []string
	if h, err := f.hints(); err == nil && h.note() != "" {
		notes = append(notes, h.note())
	}
	if e, err := f.ends(); err == nil {
		notes = append(notes, e.notes...)
	}
	return notes
}

// Stop lists the tokens that end a text: those that config.json, generation_config.json
// and tokenizer_config.json name, each once. With none, texts end where the context
// does.
func (f *Files) Stop() ([]int32, error) {
	e, err := f.ends()
	return slices.Clone(e.tokens), err
}

// stops are the strings that end a request's text.
func (f *Files) stops(r Request, tok *tokenizer.Tokenizer) ([]string, error) {
	if r.StopStrings == nil {
		list, err := f.StopStrings()
		if tok == nil { // no text, so no string is in it
			list = nil
		}
		return list, err
	}
	for _, text := range r.StopStrings {
		switch {
		case text == "":
			return nil, option.Errorf("%s: found \"\", expected texts of one character or more", stopStringsOption)
		case !utf8.ValidString(text): // it would be in no text
			return nil, option.Errorf("%s: found %s, expected UTF-8", stopStringsOption, message.Quote(text))
		}
	}
	if tok == nil && len(r.StopStrings) > 0 {
		return nil, ErrNoTokenizer
	}
	return slices.Clone(r.StopStrings), nil
}

// Encode gives the tokens of a request's prompt.
func (f *Files) Encode(r Request) ([]int32, error) {
	ids, _, err := f.encode(r)
	return ids, err
}

// encode is Encode, with how many of the tokens other prompts begin with too.
func (f *Files) encode(r Request) (ids []int32, head int, err error) {
	sources := 0
	for _, given := range []bool{r.Prompt != "", r.Messages != nil, r.Tokens != nil} {
		if given {
			sources++
		}
	}
	if sources > 1 {
		return nil, 0, errors.New("a request has a Prompt, Messages or Tokens; give one of them")
	}
	if r.Head < 0 || r.Head > len(r.Tokens) {
		return nil, 0, fmt.Errorf("a request has a Head of %d; expected 0 to %d, the number of its Tokens", r.Head, len(r.Tokens))
	}
	if r.Tokens != nil {
		return r.Tokens, r.Head, f.check(r.Tokens)
	}
	tok, err := f.Tokenizer()
	if err != nil {
		return nil, 0, err
	}
	if r.Messages != nil {
		return f.encodeChat(r, tok)
	}
	if ids, err = tok.Encode(r.Prompt); err != nil {
		return nil, 0, err
	}
	if !r.NoBOS {
		ids = f.Model.WithBOS(ids)
	}
	if len(ids) == 0 {
		return nil, 0, ErrEmptyPrompt
	}
	return ids, 0, nil
}

func (f *Files) encodeChat(r Request, tok *tokenizer.Tokenizer) (ids []int32, head int, err error) {
	if f.Model.Chat == nil {
		return nil, 0, fmt.Errorf("%s has no chat format: %w", f.Model.Architecture, ErrNoChat)
	}
	if err := chat.CheckRequest(r.Messages); err != nil {
		return nil, 0, err
	}
	segments, err := f.Model.Chat.Encode(withFaithful(tok, r.Messages), r.turn())
	if err != nil {
		return nil, 0, err
	}
	ids, before, err := chat.SegmentTokens(f.Model.Chat, segments, tok)
	if errors.As(err, new(*chat.MissingTokenError)) {
		err = fmt.Errorf("%w: %w", err, ErrNoChat)
	}
	if err != nil {
		return nil, 0, err
	}
	return ids, before[chat.Head(segments)], nil
}

// check refuses tokens that are none of the model's.
func (f *Files) check(tokens []int32) error {
	if len(tokens) == 0 {
		return ErrEmptyPrompt
	}
	for i, id := range tokens {
		if id < 0 || int(id) >= f.Model.VocabSize {
			return fmt.Errorf("token %d of the prompt is %d, expected 0 to %d", i+1, id, f.Model.VocabSize-1)
		}
	}
	return nil
}
