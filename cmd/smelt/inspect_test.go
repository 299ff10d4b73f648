package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"smelt.example/smelt/ir/text"
	"smelt.example/smelt/models"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

// result is what one command line did.
type result struct {
	args        []string
	status      int
	out, errors string
}

// smelt runs a command line.
func smelt(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, errors bytes.Buffer
	status := execute(t.Context(), args, stdio{strings.NewReader(stdin), &out, &errors})
	return result{args, status, out.String(), errors.String()}
}

// declaredNote is the note about a fixture that holds another format than it declares.
var declaredNote = regexp.MustCompile(`(?m)^note: config\.json declares .*\n`)

// succeeds returns standard output of a run that had nothing to complain about.
func (r result) succeeds(t *testing.T) string {
	t.Helper()
	if r.status != 0 || declaredNote.ReplaceAllString(r.errors, "") != "" {
		t.Fatalf("smelt %q: status %d, standard error:\n%s", r.args, r.status, r.errors)
	}
	return r.out
}

// fails requires one error with all the words and nothing on standard output.
func (r result) fails(t *testing.T, words ...string) {
	t.Helper()
	if r.status != 1 || r.out != "" || strings.Count(r.errors, "smelt: ") != 1 || !strings.HasPrefix(r.errors, "smelt: ") || !strings.HasSuffix(r.errors, "\n") {
		t.Errorf("smelt %q: status %d, standard output:\n%s\nstandard error:\n%s", r.args, r.status, r.out, r.errors)
	}
	for _, w := range words {
		if !strings.Contains(r.errors, w) {
			t.Errorf("smelt %q: the error does not say %q:\n%s", r.args, w, r.errors)
		}
	}
}

// golden compares with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s (-update writes it anew):\n%s", path, diff)
	}
}

// checkpoints are the committed checkpoints by name.
func checkpoints(t *testing.T) map[string]string {
	t.Helper()
	dirs, err := filepath.Glob("../../internal/models/deepseekv4/testdata/fixtures/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no fixtures: ", err)
	}
	all := map[string]string{"storyteller": storyteller}
	for _, d := range dirs {
		all[filepath.Base(d)] = d
	}
	return all
}

func TestInspectGolden(t *testing.T) {
	for name, dir := range checkpoints(t) {
		for _, c := range []struct {
			suffix string
			args   []string
		}{
			{".txt", nil},
			{".json", []string{"--json"}},
			{"-weights.txt", []string{"--weights", "--wide"}},
			{"-views.txt", []string{"--weights", "--views", "--layer", "1"}},
		} {
			t.Run(name+c.suffix, func(t *testing.T) {
				golden(t, name+c.suffix, smelt(t, "", append([]string{"inspect", dir}, c.args...)...).succeeds(t))
			})
		}
	}
}

// TestWeightsWidth: lines of --weights keep to lineWidth, and --wide goes on from them.
func TestWeightsWidth(t *testing.T) {
	for name, dir := range checkpoints(t) {
		narrow := strings.Split(smelt(t, "", "inspect", dir, "--weights").succeeds(t), "\n")
		wide := strings.Split(smelt(t, "", "inspect", dir, "--weights", "--wide").succeeds(t), "\n")
		if len(narrow) != len(wide) {
			t.Fatalf("%s: %d lines, with --wide %d", name, len(narrow), len(wide))
		}
		for i, line := range narrow {
			if utf8.RuneCountInString(line) > lineWidth || line != "" && !strings.HasPrefix(wide[i], line+"  ") {
				t.Errorf("%s, line %d: %q; with --wide %q", name, i+1, line, wide[i])
			}
		}
	}
}

// TestInspectAccountsForAllBytes: the page's encodings and what is not used
// are together all data, and the values all parameters.
func TestInspectAccountsForAllBytes(t *testing.T) {
	for name, dir := range checkpoints(t) {
		t.Run(name, func(t *testing.T) {
			var r inspectReport
			decodeStrictly(t, smelt(t, "", "inspect", dir, "--json").succeeds(t), &r)
			var list weightsReport
			decodeStrictly(t, smelt(t, "", "inspect", dir, "--weights", "--json").succeeds(t), &list)
			m, err := models.Open(dir, models.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()

			var stored, used, unused, listed, values int64
			for _, x := range m.Checkpoint.Tensors() {
				stored += x.Bytes
			}
			for _, e := range r.Encodings {
				used += e.Bytes
				if !e.Integer {
					values += e.Values
				}
			}
			for _, g := range r.Ignored {
				unused += g.Bytes
			}
			for _, p := range list.Parameters {
				listed += p.Bytes
			}
			if used+unused != stored || listed != used {
				t.Errorf("encodings have %d bytes, parameters %d, ignored %d; the files %d", used, listed, unused, stored)
			}
			if values != r.Parameters.Total || r.Parameters.Active >= r.Parameters.Total || r.Parameters.Routed >= r.Parameters.Total {
				t.Errorf("%d values are stored, counted are %+v", values, r.Parameters)
			}
			if len(list.Parameters) != len(m.Graph.Params) {
				t.Errorf("%d parameters listed, the graph has %d", len(list.Parameters), len(m.Graph.Params))
			}
			for i, p := range list.Parameters {
				if p.Name != m.Graph.Params[i].Name {
					t.Fatalf("parameter %d is %s, the graph's %s", i, p.Name, m.Graph.Params[i].Name)
				}
				checkViews(t, p)
			}
		})
	}
}

func decodeStrictly(t *testing.T, text string, into any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%v in\n%.500s", err, text)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Error("more than one JSON value")
	}
	if strings.Contains(text, ":[null") || strings.Contains(text, `"notes": null`) || strings.Contains(text, `"unknown_config_keys": null`) {
		t.Errorf("a list is null in\n%.500s", text)
	}
}

// checkViews requires a parameter's views to cover its rows in order.
func checkViews(t *testing.T, p weightReport) {
	t.Helper()
	next := 0
	for _, v := range p.Views {
		if v.First != next || v.Rows < 1 {
			t.Errorf("%s: a view of %d rows at %d follows %d rows", p.Name, v.Rows, v.First, next)
		}
		next = v.First + v.Rows
	}
	if next != rowsOf(p.Shape) {
		t.Errorf("%s: views cover %d of %d rows", p.Name, next, rowsOf(p.Shape))
	}
}

// TestInspectCounts counts the smallest fixture's parameters by hand, from the
// sizes in its config.json.
func TestInspectCounts(t *testing.T) {
	var r inspectReport
	decodeStrictly(t, smelt(t, "", "inspect", plainFixture, "--json").succeeds(t), &r)
	var s struct {
		Layers          int `json:"layers"`
		Hidden          int `json:"hidden"`
		Vocab           int `json:"vocab"`
		HeadDim         int `json:"head_dim"`
		IndexDim        int `json:"index_dim"`
		Experts         int `json:"experts"`
		ExpertsPerToken int `json:"experts_per_token"`
		ExpertDim       int `json:"expert_dim"`
		HashLayers      int `json:"hash_layers"`
	}
	raw, err := json.Marshal(r.Sizes)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	expert := int64(3 * s.ExpertDim * s.Hidden)
	if want := expert * int64(s.Experts*s.Layers); r.Parameters.Routed != want {
		t.Errorf("routed experts have %d parameters, want %d", r.Parameters.Routed, want)
	}
	idle := expert*int64((s.Experts-s.ExpertsPerToken)*s.Layers) + int64((s.Vocab-1)*s.Hidden)
	idle += (4 - 1) * int64(2*s.HeadDim+2*s.IndexDim) // rows of the ratio-4 layer's position tables
	idle += (128 - 1) * int64(s.HeadDim)              // and of the ratio-128 layer's
	if want := r.Parameters.Total - idle; r.Parameters.Active != want {
		t.Errorf("%d parameters are active, want %d of %d", r.Parameters.Active, want, r.Parameters.Total)
	}
	if want := int64(s.Vocab * s.ExpertsPerToken * s.HashLayers); r.Parameters.Tables != want {
		t.Errorf("tables have %d entries, want %d", r.Parameters.Tables, want)
	}
}

func TestInspectIR(t *testing.T) {
	for name, dir := range checkpoints(t) {
		t.Run(name, func(t *testing.T) {
			printed := smelt(t, "", "inspect", dir, "--ir").succeeds(t)
			m, err := text.Parse(name, printed)
			if err != nil {
				t.Fatal(err)
			}
			if text.String(m) != printed {
				t.Error("what is printed does not come back the same")
			}
			if m.Params[0].Encoding == "" {
				t.Error("parameters have no encodings")
			}
		})
	}
}

// TestInspectLayer: the layers' lists make up the whole one, but for what is
// outside layers.
func TestInspectLayer(t *testing.T) {
	whole := strings.Split(smelt(t, "", "inspect", plainFixture, "-w", "--json").succeeds(t), "\n")
	lines := map[string]bool{}
	for _, l := range whole {
		lines[strings.TrimSuffix(l, ",")] = true
	}
	found := 0
	for layer := range 3 {
		one := smelt(t, "", "inspect", plainFixture, "-w", "--json", "--layer", fmt.Sprint(layer)).succeeds(t)
		for _, l := range strings.Split(one, "\n") {
			if strings.Contains(l, fmt.Sprintf(`"layer":%d,`, layer)) && lines[strings.TrimSuffix(l, ",")] {
				found++
			}
		}
	}
	outside := strings.Count(strings.Join(whole, "\n"), `"layer":null`)
	if parameters := strings.Count(strings.Join(whole, "\n"), `{"name":`); outside != 6 || found+outside != parameters {
		t.Errorf("%d parameters in layers and %d outside, of %d", found, outside, parameters)
	}
}

func TestInspectRefuses(t *testing.T) {
	empty := t.TempDir()
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"no argument", nil, []string{"expected one CHECKPOINT", "smelt inspect --help"}},
		{"two arguments", []string{"a", "b"}, []string{"got 2 arguments"}},
		{"unknown flag", []string{"--wieghts"}, []string{"--wieghts", "smelt inspect --help"}},
		{"flag of another type", []string{storyteller, "-w", "--layer", "one"}, []string{"--layer", `"one"`}},
		{"graph and weights", []string{"x", "--ir", "--weights"}, []string{"--ir contradicts --weights"}},
		{"views alone", []string{"x", "--views"}, []string{"--views needs --weights"}},
		{"layer alone", []string{"x", "--layer", "1"}, []string{"--layer needs --weights"}},
		{"layer of the graph", []string{"x", "--ir", "--layer", "1"}, []string{"--layer needs --weights"}},
		{"negative layer", []string{"x", "-w", "--layer", "-1"}, []string{`--layer: found "-1", expected a whole number, 0 to`}},
		{"layer the model lacks", []string{storyteller, "-w", "--layer", "8"}, []string{"--layer 8", "num_hidden_layers 8", "0 to 7"}},
		{"nothing there", []string{"nowhere"}, []string{"nowhere", "no such file"}},
		{"no checkpoint", []string{empty}, []string{empty, "config.json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			smelt(t, "", append([]string{"inspect"}, c.args...)...).fails(t, c.want...)
		})
	}
}

var escapes = regexp.MustCompile("\x1b\\[[0-9]+m")

// TestInspectStyle: on a terminal the words are the same.
func TestInspectStyle(t *testing.T) {
	m, err := models.Open(storyteller, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for name, write := range map[string]func(io.Writer, style) error{
		"page":    summarise(m).write,
		"weights": func(w io.Writer, st style) error { return writeWeights(w, m, allLayers, st, true) },
		"views":   func(w io.Writer, st style) error { return writeViews(w, m, allLayers, st) },
	} {
		t.Run(name, func(t *testing.T) {
			var plain, styled bytes.Buffer
			if err := write(&plain, style{}); err != nil {
				t.Fatal(err)
			}
			if err := write(&styled, style{on: true}); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(plain.String(), "\x1b") || !strings.Contains(styled.String(), "\x1b[") {
				t.Error("escapes in plain text, or none in styled text")
			}
			if escapes.ReplaceAllString(styled.String(), "") != plain.String() {
				t.Error("style changes the words")
			}
		})
	}
}

// TestMixedViews: where a parameter's pieces are stored differently, the table
// says so and the views say how.
func TestMixedViews(t *testing.T) {
	views := []viewReport{
		{First: 0, Rows: 2, Encoding: "bf16", Weight: planeReport{Tensor: "a", File: "x", DType: "BF16", Shape: []int64{2, 4}}},
		{First: 2, Rows: 1, StoredFirst: 3, Encoding: "f32", Skew: 4, Weight: planeReport{Tensor: "b", File: "y", DType: "F32", Shape: []int64{2, 2, 4}, Offset: 20}},
	}
	if got := common(views, "several", func(v viewReport) string { return v.Weight.File }); got != "several" {
		t.Errorf("files are %s", got)
	}
	if got := common(views[:1], "several", func(v viewReport) string { return v.Weight.File }); got != "x" {
		t.Errorf("the file is %s", got)
	}
	tab := table{columns: make([]column, 8)}
	for i := range views {
		views[i].addTo(&tab, true)
	}
	var got bytes.Buffer
	if err := tab.write(&got, "", style{}); err != nil {
		t.Fatal(err)
	}
	const want = "rows 0-1  bf16  a              BF16 2x4   x  at 0\n" +
		"row 2     f32   b  row 3 of 4  F32 2x2x4  y  at 20  skew 4\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, fmt.Errorf("disk full") }

// TestOutputFails: output that cannot be written is an error of every form.
func TestOutputFails(t *testing.T) {
	for _, args := range [][]string{
		{"inspect", plainFixture}, {"inspect", plainFixture, "--json"}, {"inspect", plainFixture, "--ir"},
		{"inspect", plainFixture, "-w"}, {"inspect", plainFixture, "-w", "--views"}, {"inspect", plainFixture, "-w", "--json"},
		{"tokenize", storyteller, "--text", "x"}, {"tokenize", storyteller, "--text", "x", "--json"}, {"version"}, {"version", "--json"},
	} {
		t.Run(strings.Join(args[min(2, len(args)):], " "), func(t *testing.T) {
			var errors bytes.Buffer
			status := execute(t.Context(), args, stdio{strings.NewReader(""), fullDisk{}, &errors})
			if status != 1 || errors.String() != "smelt: disk full\n" {
				t.Errorf("smelt %q: status %d, standard error %q", args, status, errors.String())
			}
		})
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{grouped(0), "0"}, {grouped(999), "999"}, {grouped(1000), "1,000"}, {grouped(1234567), "1,234,567"}, {grouped(-1000), "-1,000"}, {grouped(-100), "-100"},
		{countInWords(12), "12"}, {countInWords(284_332_240_471), "284.3 billion"}, {countInWords(1_572_997_201_763), "1.57 trillion"},
		{plural(1, "file"), "1 file"}, {plural(2000, "file"), "2,000 files"}, {plural(0, "file"), "0 files"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

// BenchmarkInspect opens the example and writes its page.
func BenchmarkInspect(b *testing.B) {
	for b.Loop() {
		if execute(b.Context(), []string{"inspect", storyteller}, stdio{strings.NewReader(""), io.Discard, os.Stderr}) != 0 {
			b.Fatal("inspect failed")
		}
	}
}
