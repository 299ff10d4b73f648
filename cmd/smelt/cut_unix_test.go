//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"smelt.example/smelt/internal/models/checkpoint/safetensors"
	"smelt.example/smelt/internal/runtime/cpu/jit"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/internal/sample"
)

// cutting has a process of the tests change a file of weights while the command
// runs: its value is the change, when it is made, and the file.
const cutting = "SMELT_TEST_CUTTING"

// askedFor before a change makes it after so many steps, as changing does.
const askedFor = "asked: "

// cutter makes the change: when standard input is read, which is after the model
// was opened and before the device is, or after so many writes to standard output.
type cutter struct {
	path, how string
	writes    int
	done      bool
}

// runCutting is the command in such a process.
func runCutting(value string) int {
	part := strings.SplitN(value, ",", 3)
	n, err := strconv.Atoi(part[1])
	if err != nil {
		panic(err)
	}
	if how, ok := strings.CutPrefix(part[0], askedFor); ok { // standard output gets nothing until the end
		ctx := &changing{context.Background(), cutter{path: part[2], how: how, writes: n}}
		return execute(ctx, os.Args[1:], stdio{strings.NewReader("Once upon a time"), os.Stdout, os.Stderr})
	}
	c := &cutter{path: part[2], how: part[0], writes: n}
	return execute(context.Background(), os.Args[1:], stdio{c, c, os.Stderr})
}

func (c *cutter) Read(into []byte) (int, error) {
	if c.done {
		return 0, io.EOF
	}
	c.done = true
	if c.writes == 0 {
		c.act()
	}
	return copy(into, "Once upon a time"), nil
}

func (c *cutter) Write(text []byte) (int, error) {
	n, err := os.Stdout.Write(text)
	if c.writes--; c.writes == 0 {
		c.act()
	}
	return n, err
}

// act changes the file.
func (c *cutter) act() {
	info, err := os.Stat(c.path)
	if err != nil {
		panic(err)
	}
	size, page := info.Size(), int64(os.Getpagesize())
	switch c.how {
	case "last byte":
		err = os.Truncate(c.path, size-1)
	case "last page":
		err = os.Truncate(c.path, size/page*page-page+1)
	case "half":
		err = os.Truncate(c.path, size/2)
	case "nothing left":
		err = os.Truncate(c.path, 0)
	case "grows again":
		err = errors.Join(os.Truncate(c.path, size-page), os.Truncate(c.path, size))
	case "appended":
		err = os.Truncate(c.path, size+1)
	case "replaced":
		other := filepath.Join(filepath.Dir(c.path), "other")
		err = errors.Join(os.WriteFile(other, []byte("short"), 0o666), os.Rename(other, c.path))
	case "removed":
		err = os.Remove(c.path)
	}
	if err != nil {
		panic(err)
	}
}

// sharded is the storyteller in two files with an index.
func sharded(t *testing.T) string {
	t.Helper()
	dir := copyOf(t, storyteller)
	whole := filepath.Join(dir, "model.safetensors")
	f, err := safetensors.Open(whole)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var outs [2][]safetensors.Out
	var index []string
	for i, x := range f.Tensors() {
		outs[i%2] = append(outs[i%2], safetensors.Out{Name: x.Name, DType: x.DType, Shape: x.Shape, Data: x.Data()})
		index = append(index, fmt.Sprintf("%q:\"model-0000%d-of-00002.safetensors\"", x.Name, i%2+1))
	}
	for i := range outs {
		if err := safetensors.Write(filepath.Join(dir, fmt.Sprintf("model-0000%d-of-00002.safetensors", i+1)), outs[i], nil); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, whole+".index.json", `{"weight_map":{`+strings.Join(index, ",")+`}}`)
	if err := os.Remove(whole); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestCutWhileRunning changes a file of weights at a known point of a run. What
// came before stays, nothing that was computed since is printed, one line names the
// file, and the status is that of a file that was changed. A file that was replaced
// or removed is still mapped, and the run goes on.
func TestCutWhileRunning(t *testing.T) {
	if _, err := jit.Open(""); err != nil {
		t.Skip(err)
	}
	const tokens = "12"
	args := []string{"--temp", "0", "-n", tokens, "--echo"}
	whole := smelt(t, "Once upon a time", append([]string{"run", storyteller, "--device", "cpu"}, args...)...)
	if whole.status != 0 {
		t.Fatal(whole.errors)
	}
	const short, written, kernel = "was cut short while it was in use: ", "was written to while it was in use", "was cut short, or its disk failed, while a kernel read it"
	type change struct {
		device, how string
		writes      int // 1: after the prompt's echo, before it is read
		says        string
		shards      bool
	}
	for _, c := range sample.Short(t, []change{
		{"cpu", "last byte", 3, short, false},
		{"cpu", "last page", 6, "was cut short", false},
		{"cpu", "half", 4, kernel, false},
		{"cpu", "nothing left", 2, kernel, false},
		{"cpu", "nothing left", 1, kernel, false},
		{"cpu", "half", 0, "was cut short", false},
		{"cpu", "grows again", 3, "", false},
		{"cpu", "appended", 3, written, false},
		{"cpu", "replaced", 3, "", false},
		{"cpu", "removed", 1, "", false},
		{"cpu", "half", 3, kernel, true},
		{"cpu", "last byte", 1, short, true},
		{"reference", "last byte", 3, short, false},
		{"reference", "half", 2, short, false},
		{"reference", "nothing left", 1, short, false},
		{"reference", "nothing left", 0, short, false},
		{"reference", "grows again", 2, written, true},
		{"reference", "replaced", 2, "", false},
	}, 5) {
		t.Run(fmt.Sprintf("%s, %s, %d, %v", c.device, c.how, c.writes, c.shards), func(t *testing.T) {
			t.Parallel()
			dir, file := "", "model.safetensors"
			if c.shards {
				dir, file = sharded(t), "model-00002-of-00002.safetensors"
			} else {
				dir = copyOf(t, storyteller)
			}
			path := filepath.Join(dir, file)
			out, said, status := runChanged(t, fmt.Sprintf("%s,%d,%s", c.how, c.writes, path), append([]string{"run", dir, "--device", c.device}, args...)...)
			if !strings.HasPrefix(whole.out, out) {
				t.Errorf("printed %q, the whole text is %q", out, whole.out)
			}
			goesOn := c.how == "replaced" || c.how == "removed"
			if goesOn != (status == 0) || goesOn != (out == whole.out) || !goesOn && status != statusChanged {
				t.Errorf("status %d, %d of %d bytes of text\n%s", status, len(out), len(whole.out), said)
			}
			if goesOn {
				return
			}
			if strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "smelt: "+path+": the file ") || !strings.Contains(said, c.says) {
				t.Errorf("said\n%s\nexpected one line that names %s and says %q", said, path, c.says)
			}
		})
	}
}

// runChanged runs a command line in a process that changes a file.
func runChanged(t *testing.T, change string, args ...string) (out, said string, status int) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1", cutting+"="+change)
	var printed, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &errors
	cmd.Run() // its state says what came of it
	return printed.String(), errors.String(), cmd.ProcessState.ExitCode()
}

// changing is a context that changes a file when it is asked for the n-th time
// whether it has ended.
type changing struct {
	context.Context
	change cutter
}

func (c *changing) Err() error {
	if c.change.writes--; c.change.writes == 0 {
		c.change.act()
	}
	return nil
}

// TestCutWhileRunningJSON: what was generated before a file was cut is printed, with
// what is wrong, also where the process ends in a kernel.
func TestCutWhileRunningJSON(t *testing.T) {
	if _, err := jit.Open(""); err != nil {
		t.Skip(err)
	}
	type change struct {
		device, how string
		asked       int
		says        string
	}
	for _, c := range []change{
		{"cpu", "half", 60, "while a kernel read it"},
		{"cpu", "nothing left", 90, "while a kernel read it"},
		{"cpu", "last byte", 70, "was cut short while it was in use"},
		{"reference", "half", 20, "was cut short while it was in use"},
		{"reference", "appended", 15, "was written to while it was in use"},
	} {
		t.Run(c.device+", "+c.how, func(t *testing.T) {
			t.Parallel()
			tokens := "100"
			if c.device == "reference" {
				tokens = "30"
			}
			args := []string{"--device", c.device, "--temp", "0", "-n", tokens, "--json", "--seed", "7"}
			var whole, got runReport
			decodeStrictly(t, smelt(t, "Once upon a time", append([]string{"run", storyteller}, args...)...).succeeds(t), &whole)
			if whole.Error != nil {
				t.Fatal(*whole.Error)
			}
			dir := copyOf(t, storyteller)
			path := filepath.Join(dir, "model.safetensors")
			out, said, status := runChanged(t, fmt.Sprintf("%s%s,%d,%s", askedFor, c.how, c.asked, path), append([]string{"run", dir}, args...)...)
			if status != statusChanged || strings.Count(said, "\n") != 1 {
				t.Fatalf("status %d, printed %q, said\n%s", status, out, said)
			}
			decodeStrictly(t, out, &got)
			n := len(got.Tokens)
			if n == 0 || n >= len(whole.Tokens) || !slices.Equal(got.Tokens, whole.Tokens[:n]) || !strings.HasPrefix(whole.Text, got.Text) || len(got.Text) < n {
				t.Errorf("%d of %d tokens, text %q of %q", n, len(whole.Tokens), got.Text, whole.Text)
			}
			if got.StopReason != stopError || got.Error == nil || !strings.HasPrefix(*got.Error, path+": the file was ") || !strings.Contains(*got.Error, c.says) || "smelt: "+*got.Error+"\n" != said {
				t.Errorf("%+v\n%s", got, said)
			}
			if got.Device != c.device || got.Seed != 7 || got.PromptTokens != whole.PromptTokens || got.PromptSeconds <= 0 || got.DecodeSeconds <= 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestCutWhileEvaluatingJSON: what was scored before a file was cut is printed with the
// error.
func TestCutWhileEvaluatingJSON(t *testing.T) {
	for _, how := range []string{"last byte", "half", "nothing left", "appended"} {
		dir := copyOf(t, mixedFixture)
		path := filepath.Join(dir, "model.safetensors")
		var out bytes.Buffer
		r := smeltWith(&changing{t.Context(), cutter{path: path, how: how, writes: 3}}, &out, evalArgs(dir, "--tokens", "1,2,3,4,5,6,7,8", "--chunk", "2", "--json")...)
		var got evalReport
		decodeStrictly(t, out.String(), &got)
		if r.status != statusChanged || got.Error == nil || !strings.Contains(*got.Error, path+": the file was ") || got.Tokens != 8 || got.Predicted < 2 || got.Predicted > 4 || got.Loss == nil {
			t.Errorf("%s: status %d\n%s\n%s", how, r.status, out.String(), r.errors)
		}
	}
}

// TestCutWhileEvaluating: eval tells it too, and leaves no file of logits.
func TestCutWhileEvaluating(t *testing.T) {
	for _, how := range []string{"last byte", "half", "nothing left", "grows again", "appended"} {
		dir := copyOf(t, mixedFixture)
		path, logits := filepath.Join(dir, "model.safetensors"), filepath.Join(t.TempDir(), "logits.safetensors")
		ctx := &changing{t.Context(), cutter{path: path, how: how, writes: 3}}
		var out bytes.Buffer
		r := smeltWith(ctx, &out, evalArgs(dir, "--tokens", "1,2,3,4,5,6,7,8", "--chunk", "2", "--logits", logits)...)
		if r.status != statusChanged || !strings.Contains(r.errors, ": "+path+": the file was ") || strings.Count(r.errors, "\n") != 1 || out.Len() > 0 {
			t.Errorf("%s: status %d, printed %q, said\n%s", how, r.status, out.String(), r.errors)
		}
		if left, err := os.ReadDir(filepath.Dir(logits)); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", how, left, err)
		}
	}
}

// TestBadTable: a table that names no expert is told by every command that
// computes, before anything else is printed; those that read headers only go on.
func TestBadTable(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs and compiles a copy of the storyteller many times")
	}
	dir := copyOf(t, storyteller)
	path := filepath.Join(dir, "model.safetensors")
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var table *safetensors.Tensor
	for i, x := range f.Tensors() {
		if strings.HasSuffix(x.Name, "gate.tid2eid") && table == nil {
			table = &f.Tensors()[i]
		}
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	size, _ := table.DType.Size()
	if _, err := file.WriteAt([]byte{0, 0x94, 0x35, 0x77}, table.Offset+3*int64(size)); err != nil { // 2e9
		t.Fatal(err)
	}
	bundle := filepath.Join(t.TempDir(), "bundle")
	if r := smelt(t, "", "inspect", dir); r.status != 0 {
		t.Errorf("inspect: %s", r.errors)
	}
	if r := smelt(t, "", "compile", dir, "-o", bundle); r.status != 0 {
		t.Errorf("compile: %s", r.errors)
	}
	want := []string{table.Name, "(model.safetensors), layer 0: token ", " has 2000000000 at [", "expected 0 to "}
	for _, args := range [][]string{
		evalArgs(dir, "--tokens", "1,2"), {"run", dir, "-p", "x", "--device", "reference"}, {"run", bundle, "-p", "x", "--device", "cpu"},
		{"run", bundle, "-p", "x", "--device", "reference"}, {"run", bundle, "-p", "x", "--device", "standin"},
	} {
		r := smelt(t, "", args...)
		if strings.Contains(r.errors, devices.ErrNotHere.Error()) {
			continue
		}
		r.fails(t, want...)
	}
}
