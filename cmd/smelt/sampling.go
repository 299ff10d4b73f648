package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	lib "smelt.example/smelt"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/pick"
	"smelt.example/smelt/runtime/sampling"
)

// samplingFlags say how tokens are picked and which strings end a text. A flag that is
// not given leaves the checkpoint's suggestion.
type samplingFlags struct {
	params sampling.Params
	stop   []string
}

// samplingOptions are the fields of params that have a flag and may be suggested.
var samplingOptions = []struct {
	name  string // of the flag
	field string // of sampling.Params
	set   func(to, from *sampling.Params)
}{
	{"temp", "Temperature", func(to, from *sampling.Params) { to.Temperature = from.Temperature }},
	{"top-k", "TopK", func(to, from *sampling.Params) { to.TopK = from.TopK }},
	{"top-p", "TopP", func(to, from *sampling.Params) { to.TopP = from.TopP }},
	{"min-p", "MinP", func(to, from *sampling.Params) { to.MinP = from.MinP }},
	{"repetition-penalty", "RepetitionPenalty", func(to, from *sampling.Params) { to.RepetitionPenalty = from.RepetitionPenalty }},
	{"presence-penalty", "PresencePenalty", func(to, from *sampling.Params) { to.PresencePenalty = from.PresencePenalty }},
	{"frequency-penalty", "FrequencyPenalty", func(to, from *sampling.Params) { to.FrequencyPenalty = from.FrequencyPenalty }},
	{"logit-bias", "Bias", func(to, from *sampling.Params) { to.Bias = from.Bias }},
}

// add makes the flags.
func (s *samplingFlags) add(f *pflag.FlagSet) {
	p := &s.params
	floatFlag(f, &p.Temperature, "temp", 0, from(0, float64(pick.MaxTemperature)), "temperature; 0 takes the most likely token")
	intFlag(f, &p.TopK, "top-k", "", 0, from(0, pick.MaxTopK), "sample from the K most likely tokens; 0 is off")
	floatFlag(f, &p.TopP, "top-p", 1, limits[float64]{least: 0, most: 1, above: true}, "sample from the most likely tokens that together have this probability")
	floatFlag(f, &p.MinP, "min-p", 0, from(0.0, 1), "drop tokens less likely than this share of the most likely one")
	floatFlag(f, &p.RepetitionPenalty, "repetition-penalty", 1, limits[float64]{least: 0, most: pick.MaxRepetition, above: true}, "divide the logits of tokens that prompt or text have; 1 is off")
	floatFlag(f, &p.PresencePenalty, "presence-penalty", 0, from(-float64(pick.MaxPenalty), pick.MaxPenalty), "take this from the logits of tokens that the text has")
	floatFlag(f, &p.FrequencyPenalty, "frequency-penalty", 0, from(-float64(pick.MaxPenalty), pick.MaxPenalty), "the same, as often as the text has them")
	p.Bias = map[int32]float64{}
	f.Var(biases(p.Bias), "logit-bias", fmt.Sprintf("add `id=bias` to the logit of a token, from -%d to %d; may be given several times", pick.MaxBias, pick.MaxBias))
	uint64Flag(f, &p.Seed, "seed", 0, "seed of the random numbers (default: drawn anew)")
	f.StringArrayVar(&s.stop, "stop", nil, `end the text before this string; may be given several times, "" for none`)
}

// check refuses what makes no sense, before any file is opened.
func (s *samplingFlags) check() error {
	for _, text := range s.stop {
		if !utf8.ValidString(text) { // it would be in no text
			return fmt.Errorf("--stop: found %s, expected UTF-8", message.Quote(text))
		}
	}
	return s.params.Validate()
}

// biases is the flag of biases, one each time.
type biases map[int32]float64

// Set reads a token and its bias.
func (b biases) Set(s string) error {
	name, value, _ := strings.Cut(s, "=")
	id, err := strconv.ParseUint(name, 10, 31)
	bias, e := strconv.ParseFloat(value, 64)
	if err != nil || e != nil {
		return fmt.Errorf("expected a token's id and a number, such as 1024=-5, not %s", message.Quote(s))
	}
	if _, twice := b[int32(id)]; twice {
		return fmt.Errorf("token %d is there twice", id)
	}
	b[int32(id)] = bias
	return nil
}

// Type is pflag's for flags that may be given several times.
func (b biases) Type() string { return "stringArray" }

// String is empty: there is no default.
func (b biases) String() string { return "" }

// request puts suggestions and the flags that were given into a request. A suggestion
// that makes no sense is an error unless a flag stands in its place.
func (s *samplingFlags) request(cmd *cobra.Command, files *lib.Files, r *lib.Request) error {
	given := cmd.Flags().Changed
	how, err := files.Suggested()
	temperature := how.Temperature
	if given("temp") {
		temperature = s.params.Temperature
	}
	if err = unreplaced(given, temperature > 0, err); err != nil {
		return err
	}
	for _, o := range samplingOptions {
		if given(o.name) {
			o.set(&how, &s.params)
		}
	}
	how.Seed = s.params.Seed
	if !given("seed") {
		how.Seed = rand.Uint64()
	}
	r.Sampling = &how
	if given("stop") {
		r.StopStrings = slices.DeleteFunc(slices.Clone(s.stop), func(text string) bool { return text == "" })
		return nil
	}
	r.StopStrings, err = files.StopStrings()
	return err
}

// unreplaced are the errors about suggestions that no flag replaces. What narrows the
// choice counts only where tokens are drawn, not where the most likely one is taken.
func unreplaced(given func(string) bool, drawn bool, err error) error {
	replaced := func(field string) bool {
		if !drawn && slices.Contains([]string{"TopK", "TopP", "MinP"}, field) {
			return true
		}
		for _, o := range samplingOptions {
			if o.field == field {
				return given(o.name)
			}
		}
		return false
	}
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var left []error
	for _, e := range several.Unwrap() {
		var about *lib.OptionError
		if !errors.As(e, &about) || slices.ContainsFunc(about.Names(), func(name string) bool { return !replaced(name) }) {
			left = append(left, e)
		}
	}
	return errors.Join(left...)
}

// printNotes says on standard error what the checkpoint's files ask for in vain, and
// that nothing ends its texts.
func printNotes(io stdio, files *lib.Files) error {
	for _, note := range files.Notes() {
		fmt.Fprintf(io.err, "note: %s\n", note)
	}
	ends, err := files.Stop()
	if err == nil && len(ends) == 0 {
		fmt.Fprintln(io.err, "warning: neither config.json nor generation_config.json nor tokenizer_config.json names a token that ends a text; it goes on to --max-tokens, a --stop string or the end of the context")
	}
	return err
}
