package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	lib "smelt.example/smelt"
	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/option"
)

// TestLastReport: the report that is kept is the one that would be printed, but for
// the error.
func TestLastReport(t *testing.T) {
	r := &runner{o: runOptions{json: true}, device: "cpu"}
	l := r.lastReport(5, 1<<63)
	want := runReport{Tokens: []int32{}}
	for i, piece := range []lib.Token{{}, {ID: 7, Text: "a\n\"<é\u2028"}, {ID: 0, Text: ""}, {ID: 12, Text: "\\\x00\ufffd %s"}, {ID: -1, Text: "\ufffd"}} {
		if i > 0 {
			if err := l.add(piece); err != nil {
				t.Fatal(err)
			}
			want.Text += piece.Text
			if piece.ID >= 0 {
				want.Tokens = append(want.Tokens, piece.ID)
			}
			want.PromptTokens = 5
		}
		before, after, err := l.halves()
		if err != nil {
			t.Fatal(err)
		}
		said := `of "x"`
		want.StopReason, want.Seed, want.Device, want.Error = stopError, 1<<63, "cpu", &said
		want.PromptSeconds, want.DecodeSeconds = l.report.PromptSeconds, l.report.DecodeSeconds
		var out bytes.Buffer
		if err := json.NewEncoder(&out).Encode(want); err != nil {
			t.Fatal(err)
		}
		if got := string(before) + `"of \"x\""` + string(after); got != out.String() {
			t.Errorf("after %d pieces\n got %s\nwant %s", i, got, out.String())
		}
	}
	if r.o.json = false; r.lastReport(5, 1) != nil {
		t.Error("a report without --json")
	}
}

// TestFinish: what an error leaves is printed with --json, and the error is still one.
func TestFinish(t *testing.T) {
	result := lib.Result{Text: "so far", Tokens: []int32{1, 2}, Reason: lib.StopCancelled, PromptTokens: 3}
	for _, c := range []struct {
		name, stop string
		err        error
		json       bool
		says       string // null, or the error
	}{
		{"device", stopError, errors.New("the device is broken"), true, "the device is broken"},
		{"an option", stopError, option.Errorf("%s is wrong", option.Name("TopK")), true, "--top-k is wrong"},
		{"no finite number", stopError, errors.New("logits: NaN"), true, "logits: NaN"},
		{"Ctrl-C", string(lib.StopCancelled), context.Canceled, true, ""},
		{"device, as text", "", errors.New("the device is broken"), false, ""},
	} {
		var out, said bytes.Buffer
		r := &runner{io: stdio{out: &out, err: &said}, o: runOptions{json: c.json}, device: "cpu"}
		err := r.finish([]runOutput{{Result: result}}, c.err)
		if err == nil || c.says != "" && !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
		if !c.json {
			if out.Len() > 0 {
				t.Errorf("%s: printed %s", c.name, out.String())
			}
			continue
		}
		var got runReport
		decodeStrictly(t, out.String(), &got)
		if got.Text != result.Text || len(got.Tokens) != 2 || got.StopReason != c.stop || (got.Error == nil) != (c.says == "") || got.Error != nil && *got.Error != c.says {
			t.Errorf("%s: %s", c.name, out.String())
		}
	}
}

// TestVerifyBroken: checks that ended before an error are printed with it.
func TestVerifyBroken(t *testing.T) {
	for _, asJSON := range []bool{true, false} {
		var out bytes.Buffer
		broken := errors.New("the process that runs kernels is gone")
		err := newVerifyPage(stdio{out: &out}, asJSON).broken(&verifyReport{Checks: []verifyCheck{{Name: "prompt of 1", OK: true}}}, broken)
		if !errors.Is(err, broken) || (out.Len() > 0) != asJSON {
			t.Errorf("%v, printed %s", err, out.String())
		}
		var got verifyReport
		if asJSON {
			if decodeStrictly(t, out.String(), &got); got.OK || len(got.Checks) != 1 || got.Error == nil || *got.Error != broken.Error() {
				t.Error(out.String())
			}
		}
	}
}

// TestRunJSONOfNaN: a model whose output is no number gives an object that says so.
func TestRunJSONOfNaN(t *testing.T) {
	dir := copyOf(t, storyteller)
	spoil(t, dir)
	r := smelt(t, "", runArgs(dir, "-p", "Once", "--temp", "0", "-n", "3", "--json")...)
	var got runReport
	decodeStrictly(t, r.out, &got)
	if r.status != 1 || got.StopReason != stopError || got.Error == nil || len(got.Tokens) != 0 || got.Tokens == nil || r.errors != "smelt: "+*got.Error+"\n" {
		t.Errorf("status %d\n%s\n%s", r.status, r.out, r.errors)
	}
}

// spoil makes the last norm's weights NaN.
func spoil(t *testing.T, dir string) {
	t.Helper()
	path := dir + "/model.safetensors"
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var outs []safetensors.Out
	spoiled := false
	for _, x := range f.Tensors() {
		data := bytes.Clone(x.Data())
		if strings.HasSuffix(x.Name, "norm.weight") && !strings.Contains(x.Name, "layers.") {
			spoiled = true
			for i := range data {
				data[i] = 0xff
			}
		}
		outs = append(outs, safetensors.Out{Name: x.Name, DType: x.DType, Shape: x.Shape, Data: data})
	}
	if !spoiled {
		t.Fatal("no norm")
	}
	if err := safetensors.Write(path, outs, nil); err != nil {
		t.Fatal(err)
	}
}
