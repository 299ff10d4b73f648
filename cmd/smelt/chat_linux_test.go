package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminalPair is a terminal as a program has it, and what a person sees and types.
func terminalPair(t *testing.T) (program, person *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminal to try: ", err)
	}
	t.Cleanup(func() { person.Close() })
	must(t, unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	must(t, err)
	must(t, unix.IoctlSetWinsize(int(person.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}))
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminal to try: ", err)
	}
	return program, person
}

// onTerminal is `smelt chat` on a terminal of its own.
type onTerminal struct {
	t      *testing.T
	person *os.File
	seen   bytes.Buffer
	wait   func() int // for the end: its status
}

func chatOnTerminal(t *testing.T, args ...string) *onTerminal {
	t.Helper()
	program, person := terminalPair(t)
	cmd := asProcess(t, append([]string{"chat", storyteller, "--device", "reference", "--temp", "0"}, args...)...)
	cmd.Env = append(cmd.Env, "TERM=xterm", "NO_COLOR=")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
	// The terminal is its own, so that Ctrl-C goes to it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(t, cmd.Start())
	must(t, program.Close()) // so that reading ends where the command does
	guard := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		guard.Stop()
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return &onTerminal{t: t, person: person, wait: func() int {
		cmd.Wait()
		return cmd.ProcessState.ExitCode()
	}}
}

// types sends keys, and waits until a text is seen; it returns all until then.
func (o *onTerminal) types(keys, until string) string {
	o.t.Helper()
	_, err := io.WriteString(o.person, keys)
	must(o.t, err)
	o.seen.Reset()
	buf := make([]byte, 4096)
	for !strings.Contains(o.seen.String(), until) {
		n, err := o.person.Read(buf)
		if err != nil {
			o.t.Fatalf("after %q: %v; seen %q", keys, err, o.seen.String())
		}
		o.seen.Write(buf[:n])
	}
	return o.seen.String()
}

// TestChatTerminal: a person edits lines, sees reasoning dim, ends an answer with Ctrl-C and
// the program with two.
func TestChatTerminal(t *testing.T) {
	const prompt = "\x1b[?2004h\x1b[1m> \x1b[0m"
	o := chatOnTerminal(t, "-n", "4", "--think")
	if seen := o.types("", prompt); !strings.Contains(seen, "/help lists what there is") {
		t.Errorf("seen %q", seen)
	}
	if seen := o.types("Whx\x7fy?\r", prompt); !strings.Contains(seen, "\x1b[2m") || strings.Contains(seen, "[reasoning]") || !strings.Contains(seen, "the answer ends here after 4 tokens") {
		t.Errorf("seen %q", seen)
	}
	if seen := o.types("/undo\r", prompt); !strings.Contains(seen, `taken back: "Why?"`) {
		t.Errorf("seen %q", seen)
	}
	o.types("half a line\x03", prompt)
	if seen := o.types("\x03", prompt); !strings.Contains(seen, "Ctrl-C once more ends") {
		t.Errorf("seen %q", seen)
	}
	o.types("\x03", "^C")
	if status := o.wait(); status != statusInterrupted {
		t.Errorf("status %d", status)
	}
}

// TestChatTerminalAnswer: Ctrl-C ends an answer and nothing else; Ctrl-D ends all.
func TestChatTerminalAnswer(t *testing.T) {
	const prompt = "\x1b[?2004h\x1b[1m> \x1b[0m"
	o := chatOnTerminal(t, "--context", "4000", "--repetition-penalty", "0.5") // so that no answer ends
	o.types("", prompt)
	o.types("Tell me about a cat.\r", "\x1b[?2004l")
	o.types("", " ")
	if seen := o.types("\x03", prompt); !strings.Contains(seen, "interrupted; what was said so far stays") {
		t.Errorf("seen %q", seen)
	}
	if seen := o.types("/stats\r", prompt); !strings.Contains(seen, "1 answer:") {
		t.Errorf("seen %q", seen)
	}
	o.types("\x04", "\x1b[?2004l")
	if status := o.wait(); status != 0 {
		t.Errorf("status %d", status)
	}
}
