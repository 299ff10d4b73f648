//go:build unix

package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"smelt.example/smelt/codegen/bundle"
)

// A stranger is put in place of a file: something that is none.
type stranger struct {
	kind string // as errors name it
	put  func(t *testing.T, path string)
}

var strangers = []stranger{
	{"a FIFO", putFIFO},
	{"a folder", func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o755)) }},
	{"a character device", func(t *testing.T, path string) { must(t, os.Symlink("/dev/zero", path)) }},
	{"a socket", putSocket},
	{"a FIFO", func(t *testing.T, path string) { // behind links
		fifo, link := filepath.Join(t.TempDir(), "fifo"), filepath.Join(t.TempDir(), "link")
		putFIFO(t, fifo)
		must(t, os.Symlink(fifo, link))
		must(t, os.Symlink(link, path))
	}},
}

func putFIFO(t *testing.T, path string) { must(t, syscall.Mkfifo(path, 0o600)) }

// putSocket makes one elsewhere and moves it: a socket's path is short.
func putSocket(t *testing.T, path string) {
	dir, err := os.MkdirTemp("", "smelt")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	must(t, l.Close())
	must(t, os.Rename(filepath.Join(dir, "s"), path))
}

// linked is a folder whose files are links to those of dir.
func linked(t *testing.T, dir string) string {
	t.Helper()
	dir, err := filepath.Abs(dir)
	must(t, err)
	to := t.TempDir()
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(dir, path)
		if err == nil && e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rest), 0o755)
		}
		return os.Symlink(path, filepath.Join(to, rest))
	}))
	return to
}

// blocked is how long a command that has nothing left to do may take on a busy machine.
const blocked = 5 * time.Minute

// soon fails the test when a command does not end by itself, as one that waits for
// a FIFO's writer does not.
func soon(t *testing.T, args []string) (r result) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); r = smelt(t, "", args...) }()
	select {
	case <-done:
		return r
	case <-time.After(blocked):
		t.Fatalf("smelt %v: blocked", args)
	}
	return r
}

// TestStrangers: a model's files are regular files, or the error says what else is
// there. DIR stands for the model's folder.
func TestStrangers(t *testing.T) {
	out := filepath.Join(t.TempDir(), "bundle")
	text := writeFile(t, filepath.Join(t.TempDir(), "text"), "Once")
	for _, c := range []struct {
		file     string
		dir      string
		commands []string
	}{
		{"config.json", storyteller, []string{"inspect DIR", "eval DIR --tokens 1", "run DIR -p a", "compile DIR -o " + out}},
		{"model.safetensors", storyteller, []string{"inspect DIR", "bench run DIR"}},
		{"model.safetensors.index.json", storyteller, []string{"inspect DIR", "compile DIR -o " + out}},
		{"tokenizer.json", storyteller, []string{"tokenize DIR", "run DIR -p a", "eval DIR --text-file " + text}},
		{"generation_config.json", storyteller, []string{"run DIR -p a"}},
		{"tokenizer_config.json", storyteller, []string{"run DIR -p a"}},
		{"bundle.json", storyteller, []string{"inspect DIR", "run DIR -p a", "verify DIR", "bench run DIR", "doctor DIR --report= --json"}},
	} {
		for _, s := range strangers {
			dir := linked(t, c.dir)
			checkStranger(t, dir, c.file, s, c.commands)
		}
	}
}

// TestBundleStrangers is TestStrangers for what a bundle has.
func TestBundleStrangers(t *testing.T) {
	made := compileTo(t, plainFixture, "--context", "16")
	if !bundle.IsBundle(made) {
		t.Fatal("no bundle was made")
	}
	for _, s := range strangers {
		for _, pattern := range []string{"bundle.json", "plan.ir", "*.kir"} {
			dir := linked(t, made)
			checkStranger(t, dir, firstMatch(t, dir, pattern), s, []string{"inspect DIR"})
		}
	}
}

func checkStranger(t *testing.T, dir, file string, s stranger, commands []string) {
	t.Helper()
	path := filepath.Join(dir, file)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	s.put(t, path)
	for _, command := range commands {
		soon(t, strings.Fields(strings.ReplaceAll(command, "DIR", dir))).fails(t, path+" is "+s.kind+"; expected a regular file")
	}
}

// TestModelIsStranger: neither a folder nor a file is where a model is named.
func TestModelIsStranger(t *testing.T) {
	for _, s := range strangers {
		path := filepath.Join(t.TempDir(), "model.safetensors")
		s.put(t, path)
		for _, command := range []string{"inspect", "run -p a", "compile -o bundle", "eval --tokens 1"} {
			want := path + ": this is " + s.kind + "; give the folder"
			if s.kind == "a folder" {
				want = path + ": 2 problems"
			}
			soon(t, append(strings.Fields(command), path)).fails(t, want)
		}
	}
}

// TestTextsFromPipes: what is read once and in order may come from a FIFO.
func TestTextsFromPipes(t *testing.T) {
	for flag, content := range map[string]string{"--text-file": "Once upon", "--tokens-file": "[779, 576]"} {
		file := writeFile(t, filepath.Join(t.TempDir(), "file"), content)
		want := evalJSON(t, storyteller, flag, file)
		fifo := filepath.Join(t.TempDir(), "fifo")
		putFIFO(t, fifo)
		go os.WriteFile(fifo, []byte(content), 0) // waits for the command
		var got evalReport
		decodeStrictly(t, soon(t, evalArgs(storyteller, flag, fifo, "--json")).succeeds(t), &got)
		if got.Tokens != want.Tokens || *got.Loss != *want.Loss {
			t.Errorf("%s: %v from a FIFO, %v from a file", flag, got, want)
		}
	}
}

func TestTextsRefused(t *testing.T) {
	for _, s := range []stranger{strangers[1], strangers[3]} {
		path := filepath.Join(t.TempDir(), "text")
		s.put(t, path)
		for _, flag := range []string{"--text-file", "--tokens-file"} {
			soon(t, []string{"eval", storyteller, flag, path}).fails(t, flag, path+" is "+s.kind+"; expected a file or a pipe")
		}
	}
	for _, flag := range []string{"--text-file", "--tokens-file"} {
		soon(t, []string{"eval", storyteller, flag, "/dev/zero"}).fails(t, "/dev/zero has more than 64 MB of text")
	}
}

// feed writes more than a pipe holds: it returns when a process has read some. A
// FIFO at path is opened for that, and nothing is closed.
func feed(t *testing.T, w *os.File, path string) error {
	if path != "" {
		var err error
		if w, err = os.OpenFile(path, os.O_WRONLY, 0); err != nil {
			return err
		}
	}
	t.Cleanup(func() { w.Close() })
	_, err := w.Write(make([]byte, 1<<20))
	return err
}

// TestCtrlCWaiting: Ctrl-C ends a command that waits for a text that nobody writes
// to its end.
func TestCtrlCWaiting(t *testing.T) {
	for _, args := range [][]string{
		{"eval", storyteller, "--text-file", "FIFO"},
		{"eval", storyteller, "--tokens-file", "FIFO"},
		{"bench", "run", storyteller, "--text", "FIFO"},
		{"tokenize", storyteller},
		{"tokenize", storyteller, "--decode"},
		{"run", storyteller},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			stdin, w, err := os.Pipe()
			must(t, err)
			args, fifo := slices.Clone(args), ""
			if last := &args[len(args)-1]; *last == "FIFO" {
				fifo = filepath.Join(t.TempDir(), "fifo")
				putFIFO(t, fifo)
				*last = fifo
			}
			cmd, errors := processReading(t, stdin, args...)
			must(t, stdin.Close())
			done, waits := make(chan error, 1), make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			go func() { waits <- feed(t, w, fifo) }()
			select { // a signal before the command is there ends the process
			case err := <-waits:
				must(t, err)
			case err := <-done:
				t.Fatalf("ended with %v before it read\n%s", err, errors)
			}
			interrupt(t, cmd)
			select {
			case err := <-done:
				if cmd.ProcessState.ExitCode() != statusInterrupted || errors.String() != "smelt: interrupted\n" {
					t.Errorf("ended with %v, expected status %d\n%s", err, statusInterrupted, errors)
				}
			case <-time.After(blocked):
				t.Error("Ctrl-C does not end it")
			}
		})
	}
}
