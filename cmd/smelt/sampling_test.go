package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestRunHints: suggestions are taken, and a flag in the place of one keeps it from
// being judged.
func TestRunHints(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: opens a model a dozen times")
	}
	const prompt = "Once upon a time"
	plain := runJSON(t, "", storyteller, "-p", prompt, "--temp", "0", "-n", "6").Text
	for _, c := range []struct {
		name, file string
		args       []string
		out        string   // with --temp 0; "" for any
		says       []string // on standard error
		fails      string
	}{
		{name: "vLLM's top_k", file: `{"do_sample": true, "temperature": 0.6, "top_k": -1, "top_p": 0.95}`},
		{name: "and flags", file: `{"do_sample": true, "temperature": 0.6, "top_k": -1, "top_p": 0.95}`, args: []string{"--top-k", "5", "--top-p", "0.9"}},
		{name: "top_k", file: `{"temperature": 0.6, "top_k": "x"}`, fails: "--top-k"},
		{name: "top_k replaced", file: `{"temperature": 0.6, "top_k": "x"}`, args: []string{"--top-k", "5"}},
		{name: "top_k, greedy", file: `{"temperature": 0.6, "top_k": "x"}`, args: []string{"--temp", "0"}, out: plain},
		{name: "top_k, greedy by the file", file: `{"do_sample": false, "temperature": 0.6, "top_k": "x", "min_p": 3}`, out: plain},
		{name: "top_p, greedy by the file's temperature", file: `{"do_sample": true, "temperature": 0, "top_p": 1.5}`, out: plain},
		{name: "top_p, nothing said of sampling", file: `{"top_p": 1.5}`, out: plain},
		{name: "top_p, drawn by a flag", file: `{"do_sample": false, "top_p": 1.5}`, args: []string{"--temp", "0.5"}, fails: "--top-p"},
		{name: "a penalty counts, greedy or not", file: `{"do_sample": false, "top_p": 1.5, "repetition_penalty": -1}`, fails: "--repetition-penalty"},
		{name: "a temperature that is none, and top_p", file: `{"temperature": -1, "top_p": 1.5}`, fails: "--temp"},
		{name: "temperature", file: `{"temperature": -1}`, fails: "--temp"},
		{name: "temperature replaced", file: `{"temperature": -1, "do_sample": 3}`, args: []string{"--temp", "0"}, out: plain},
		{name: "top_p", file: `{"temperature": 1, "top_p": 7}`, args: []string{"--top-k", "3"}, fails: "--top-p"},
		{name: "top_p replaced", file: `{"temperature": 1, "top_p": 7}`, args: []string{"--top-p", "1"}},
		{name: "min_p", file: `{"temperature": 1, "min_p": 7}`, fails: "--min-p"},
		{name: "min_p replaced", file: `{"temperature": 1, "min_p": 7}`, args: []string{"--min-p", "0"}},
		{name: "min_p of 1 is greedy", file: `{"temperature": 1, "min_p": 1}`, out: plain},
		{name: "top_p of 0 is greedy", file: `{"temperature": 1, "top_p": 0}`, out: plain},
		{name: "repetition_penalty", file: `{"repetition_penalty": 0}`, args: []string{"--temp", "0"}, fails: "--repetition-penalty"},
		{name: "repetition_penalty replaced", file: `{"repetition_penalty": 50}`, args: []string{"--repetition-penalty", "1"}, out: plain},
		{name: "presence_penalty", file: `{"presence_penalty": 9}`, fails: "--presence-penalty"},
		{name: "presence_penalty replaced", file: `{"presence_penalty": 9}`, args: []string{"--presence-penalty", "0"}, out: plain},
		{name: "frequency_penalty", file: `{"frequency_penalty": null, "presence_penalty": []}`, fails: "--presence-penalty"},
		{name: "frequency_penalty replaced", file: `{"frequency_penalty": "x"}`, args: []string{"--frequency-penalty", "-0.0"}, out: plain},
		{name: "stop_strings", file: `{"stop_strings": 3}`, fails: "--stop"},
		{name: "stop_strings replaced", file: `{"stop_strings": 3}`, args: []string{"--stop", ""}, out: plain},
		{name: "a stop string", file: `{"stop_strings": [" there"]}`, out: ",", says: []string{`stopped: stop string " there"`}},
		{name: "none of them", file: `{"stop_strings": [" there"]}`, args: []string{"--stop", ""}, out: plain, says: []string{"stopped: length"}},
		{name: "others", file: `{"stop_strings": [" there"]}`, args: []string{"--stop", "zebra", "--stop", "re w"}, out: ", the", says: []string{`stopped: stop string "re w"`}},
		{name: "what is not supported", file: `{"suppress_tokens": [5], "num_beams": 4, "top_k": 0}`, out: plain, says: []string{"note: ", "smelt does not support num_beams 4, suppress_tokens [5]; the text"}},
		{name: "several wrong ones", file: `{"temperature": 1, "min_p": 7, "top_k": 0.5}`, args: []string{"--min-p", "0"}, fails: "--top-k"},
		{name: "an end token, which no flag replaces", file: `{"eos_token_id": "x"}`, args: []string{"--temp", "0", "--stop", "x"}, fails: "correct or remove the file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copyOf(t, storyteller)
			path := writeFile(t, filepath.Join(dir, "generation_config.json"), c.file)
			args := append([]string{dir, "-p", prompt, "-n", "6"}, c.args...)
			if c.fails != "" {
				r := smelt(t, "", runArgs(args...)...)
				r.fails(t, path+": ", "found ", c.fails)
				if strings.Count(r.errors, path) > 1 {
					t.Errorf("several errors:\n%s", r.errors)
				}
				return
			}
			out, errors := runText(t, "", args...)
			if c.out != "" && out != c.out+"\n" {
				t.Errorf("got %q, want %q", out, c.out)
			}
			for _, want := range c.says {
				if !strings.Contains(errors, want) {
					t.Errorf("standard error does not say %q:\n%s", want, errors)
				}
			}
		})
	}
}

// TestRunStops: what ends a text is in the JSON too, and a checkpoint whose files name
// no end token is warned about.
func TestRunStops(t *testing.T) {
	r := runJSON(t, "", storyteller, "-p", "Once upon a time", "--temp", "0", "-n", "6", "--stop", "was", "--stop", "ther")
	if r.Text != ", " || r.StopReason != "stop string" || r.StopString != "ther" || len(r.Tokens) != 2 {
		t.Errorf("%+v", r)
	}
	for _, stop := range []string{"a\xffb", "\xc3", "\xed\xa0\x80", "x\xf0\x9f\x98", "\xa9"} { // in no text: those are UTF-8
		smelt(t, "", "run", "no checkpoint", "--stop", "x", "--stop", stop).fails(t, "--stop: found "+strconv.Quote(stop)+", expected UTF-8")
	}
	dir := copyOf(t, storyteller)
	writeFile(t, filepath.Join(dir, "generation_config.json"), `{"eos_token_id": -1}`)
	writeFile(t, filepath.Join(dir, "tokenizer_config.json"), `{"eos_token": null}`)
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	must(t, err)
	writeFile(t, filepath.Join(dir, "config.json"), strings.Replace(string(config), `"eos_token_id": 1`, `"eos_token_id": null`, 1))
	if _, errors := runText(t, "", dir, "-p", "Once", "-n", "1"); !strings.Contains(errors, "warning: neither config.json nor generation_config.json nor tokenizer_config.json names a token that ends a text") {
		t.Errorf("standard error:\n%s", errors)
	}
}

// TestRunBias: biases reach the device, and what makes no sense is refused before any file is
// opened.
func TestRunBias(t *testing.T) {
	run := func(args ...string) []int32 {
		t.Helper()
		return runJSON(t, "", append([]string{storyteller, "-p", "Once upon a time", "--temp", "0", "-n", "4"}, args...)...).Tokens
	}
	plain := run()
	bias := func(token int32, by string) []string {
		return []string{"--logit-bias", fmt.Sprintf("%d=%s", token, by)}
	}
	if got := run(bias(plain[0], "0")...); !slices.Equal(got, plain) {
		t.Errorf("a bias of 0: %v, without %v", got, plain)
	}
	if got := run(bias(plain[0], "-100")...); slices.Contains(got, plain[0]) {
		t.Errorf("token %d is kept out, and in %v", plain[0], got)
	}
	if got := run(append(bias(plain[0], "-1.5e1"), bias(77, "100")...)...); !slices.Equal(got, []int32{77, 77, 77, 77}) {
		t.Errorf("token 77 is forced, the text is %v", got)
	}
	for arg, want := range map[string]string{
		"x=1": `not "x=1"`, "5": `not "5"`, "-1=2": `not "-1=2"`, "5=101": "found 101 for token 5", "5=NaN": "found NaN for token 5",
	} {
		smelt(t, "", "run", "no checkpoint", "--logit-bias", arg).fails(t, "--logit-bias", want)
	}
	smelt(t, "", "run", "no checkpoint", "--logit-bias", "5=1", "--logit-bias", "5=2").fails(t, "--logit-bias", "token 5 is there twice")
	smelt(t, "", runArgs(append([]string{storyteller, "-p", "x"}, bias(1<<30, "1")...)...)...).fails(t, "--logit-bias: found token 1073741824, expected 0 to ")
}
