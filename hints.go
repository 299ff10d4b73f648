package smelt

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/imposter"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/option"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/internal/strictjson"
	"smelt.example/smelt/runtime/sampling"
)

// hints are what generation_config.json suggests. They are not options: what makes no
// sense is an error for whoever takes the hint, and for nobody else.
type hints struct {
	path     string
	params   sampling.Params
	stop     []string // texts that end a text
	eos      []int32
	problems []problem
	unused   []string // keys with values that smelt does not go by, as sentences name them
}

// problem is a hint that makes no sense.
type problem struct {
	option option.Name // that stands in its place; "" if none does
	text   string
}

const (
	generationName      = "generation_config.json"
	maxGenerationConfig = 1 << 20
)

// readHints reads the file in a checkpoint's folder; without one all is unset.
func readHints(dir string) (hints, error) {
	h := hints{path: filepath.Join(dir, generationName)}
	data, err := readBeside(h.path, maxGenerationConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err == nil {
		if err = h.parse(data); err != nil {
			err = fmt.Errorf("%s: %w; correct or remove the file", h.path, err)
		}
	}
	return h, err
}

// readBeside reads a file that stands beside the weights and may be left out.
func readBeside(path string, most int64) ([]byte, error) {
	data, err := imposter.Read(path, most)
	if errors.As(err, new(*imposter.Error)) {
		err = fmt.Errorf("%w, or remove it", err)
	}
	return data, err
}

// hintKeys are the keys that smelt goes by, with the options they are hints for.
var hintKeys = []struct {
	key    string
	option option.Name
	read   func(h *hints, o *strictjson.Object, key string)
}{
	{"temperature", "Temperature", (*hints).temperature},
	{"top_k", "TopK", (*hints).topK},
	{"top_p", "TopP", (*hints).topP},
	{"min_p", "MinP", number(func(p *sampling.Params) *float64 { return &p.MinP }, strictjson.AtLeast(0), strictjson.AtMost(1))},
	{"repetition_penalty", "RepetitionPenalty", number(func(p *sampling.Params) *float64 { return &p.RepetitionPenalty }, strictjson.Above(0), strictjson.AtMost(pick.MaxRepetition))},
	{"presence_penalty", "PresencePenalty", number(func(p *sampling.Params) *float64 { return &p.PresencePenalty }, strictjson.AtLeast(-pick.MaxPenalty), strictjson.AtMost(pick.MaxPenalty))},
	{"frequency_penalty", "FrequencyPenalty", number(func(p *sampling.Params) *float64 { return &p.FrequencyPenalty }, strictjson.AtLeast(-pick.MaxPenalty), strictjson.AtMost(pick.MaxPenalty))},
	{"stop_strings", "StopStrings", (*hints).stopStrings},
	{"eos_token_id", "", (*hints).ends},
}

// parse reads the file's content. Keys of other engines may hold anything. The error
// is about the file as a whole.
func (h *hints) parse(data []byte) error {
	var out strictjson.Findings
	top := strictjson.ParseObject(data, &out)
	if top == nil {
		return errors.New(strings.Join(out.List(), "; "))
	}
	for _, k := range hintKeys {
		before := len(out.List())
		k.read(h, top, k.key)
		for _, text := range out.List()[before:] {
			h.problems = append(h.problems, problem{k.option, text})
		}
	}
	h.unused = unusedKeys(top)
	return nil
}

// temperature reads do_sample too: without sampling there is none, and transformers,
// which writes these files, samples at 1 where nothing else is said. vLLM takes 0 for
// the most likely token, as smelt does.
func (h *hints) temperature(o *strictjson.Object, key string) {
	sample, stated := o.Boolean("do_sample")
	o.Know(key)
	if stated && !sample {
		return
	}
	if stated && o.Kind(key) != jsontext.KindNumber {
		h.params.Temperature = 1
	}
	if t, ok := o.Number(key, strictjson.AtLeast(0), strictjson.AtMost(pick.MaxTemperature)); ok {
		h.params.Temperature = t
	}
}

// topK takes -1, vLLM's word for off, beside 0, which is transformers'. More tokens
// than any vocabulary has are all.
func (h *hints) topK(o *strictjson.Object, key string) {
	if k, ok := o.Integer(key, -1, math.MaxInt32); ok && k > 0 && k <= pick.MaxTopK {
		h.params.TopK = k
	}
}

// leastTopP keeps the most likely token alone.
const leastTopP = 0x1p-32

// topP takes 0 for the most likely token alone, as transformers and llama.cpp do.
func (h *hints) topP(o *strictjson.Object, key string) {
	if p, ok := o.Number(key, strictjson.AtLeast(0), strictjson.AtMost(1)); ok {
		h.params.TopP = max(p, leastTopP)
	}
}

// number reads a number into a field.
func number(field func(*sampling.Params) *float64, low, high strictjson.Bound) func(*hints, *strictjson.Object, string) {
	return func(h *hints, o *strictjson.Object, key string) {
		if v, ok := o.Number(key, low, high); ok {
			*field(&h.params) = v
		}
	}
}

func (h *hints) stopStrings(o *strictjson.Object, key string) {
	for _, text := range o.Texts(key) {
		if text == "" {
			o.Wrong(key, `""`, "texts of one character or more")
			continue
		}
		h.stop = append(h.stop, text)
	}
}

func (h *hints) ends(o *strictjson.Object, key string) {
	for _, id := range o.Integers(key, -1, math.MaxInt32) {
		h.eos = append(h.eos, int32(id))
	}
}

// sampling is how to sample. The error is about hints for that; what narrows the choice
// counts only where tokens are drawn, not where the most likely one is taken.
func (h *hints) sampling(drawn bool) (sampling.Params, error) {
	return h.params, h.wrong(func(n option.Name) bool {
		switch n {
		case "", stopStringsOption:
			return false
		case "TopK", "TopP", "MinP":
			return drawn
		}
		return true
	})
}

// wrong is an error for each hint for options that makes no sense, an *OptionError
// each.
func (h *hints) wrong(of func(option.Name) bool) error {
	var errs []error
	for _, p := range h.problems {
		switch {
		case !of(p.option):
		case p.option == "":
			errs = append(errs, fmt.Errorf("%s: %s; correct or remove the file", h.path, p.text))
		default:
			errs = append(errs, option.Errorf("%s: %s; correct the file or give %s", h.path, p.text, p.option))
		}
	}
	return errors.Join(errs...)
}

// note names the keys that have no effect; "" if there are none.
func (h *hints) note() string {
	if len(h.unused) == 0 {
		return ""
	}
	return fmt.Sprintf("%s: smelt does not support %s; the text is generated without", h.path, message.List(h.unused))
}
