//go:build unix

package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process starts the command as a process of its own; it is killed when the
// test ends or after five minutes.
func process(t *testing.T, args ...string) (*exec.Cmd, io.Reader, *bytes.Buffer) {
	t.Helper()
	cmd := asProcess(t, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	return cmd, out, startProcess(t, cmd)
}

// processReading is process with a standard input, and without a look at its output.
func processReading(t *testing.T, in *os.File, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := asProcess(t, args...)
	cmd.Stdin = in
	return cmd, startProcess(t, cmd)
}

func asProcess(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	return cmd
}

func startProcess(t *testing.T, cmd *exec.Cmd) *bytes.Buffer {
	t.Helper()
	var errors bytes.Buffer
	cmd.Stderr = &errors
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(5*time.Minute, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		guard.Stop()
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return &errors
}

func interrupt(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
}

// TestCtrlC: the first one ends the text with everything said that there is to
// say, and status 130.
func TestCtrlC(t *testing.T) {
	cmd, out, errors := process(t, runArgs(storyteller, "-p", "Once upon a time", "--temp", "0", "--max-tokens", "4000")...)
	r := bufio.NewReader(out)
	first, err := r.ReadString('e')
	if err != nil {
		t.Fatalf("no text: %v\n%s", err, errors)
	}
	interrupt(t, cmd)
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if cmd.ProcessState.ExitCode() != statusInterrupted {
		t.Errorf("ended with %v, expected status 130", err)
	}
	text := first + string(rest)
	if !strings.HasPrefix(text, ", there") || !strings.HasSuffix(text, "\n") {
		t.Errorf("text %q", text)
	}
	if !strings.Contains(errors.String(), "stopped: interrupted\n") || !strings.Contains(errors.String(), "device reference") || strings.Contains(errors.String(), "smelt:") {
		t.Errorf("standard error:\n%s", errors)
	}
}

// TestSecondCtrlC: when the program cannot end by itself, here because nobody
// takes its output, another Ctrl-C ends it at once.
func TestSecondCtrlC(t *testing.T) {
	long := strings.Repeat(" little", 14_000) // fits the context, and is more than a pipe holds
	cmd, out, errors := process(t, runArgs(storyteller, "--echo", "-p", long)...)
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("no text: %v\n%s", err, errors)
	}
	// The first one needs a moment to make room for the next.
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for range 600 {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			break // it has ended
		}
		time.Sleep(50 * time.Millisecond)
	}
	<-done
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() || ws.Signal() != syscall.SIGINT {
		t.Errorf("ended with %v, expected by SIGINT\n%s", cmd.ProcessState, errors)
	}
}

// TestChatCtrlC: it ends an answer and not the program, which the end of its input does.
func TestChatCtrlC(t *testing.T) {
	cmd := asProcess(t, "chat", storyteller, "--device", "reference", "--temp", "0", "--context", "4000", "--repetition-penalty", "0.5")
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	errors := startProcess(t, cmd)
	r := bufio.NewReader(out)
	_, err = io.WriteString(in, "Tell me about a cat.\n") // the answer has no end of its own
	must(t, err)
	if _, err := r.ReadString(' '); err != nil {
		t.Fatalf("no answer: %v\n%s", err, errors)
	}
	interrupt(t, cmd)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatalf("the answer does not end: %v\n%s", err, errors)
	}
	must(t, in.Close())
	err = cmd.Wait()
	if got := errors.String(); err != nil || !strings.Contains(got, "interrupted; what was said so far stays") {
		t.Errorf("ended with %v\n%s", err, got)
	}
}
