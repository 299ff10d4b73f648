package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"smelt.example/smelt/internal/progress"
)

// screen is a terminal of one line, which keeps what could be read on it.
type screen struct {
	mu     sync.Mutex
	line   string
	seen   []string // each state of the line, and what scrolled away
	widest int
}

// Write draws what smelt writes: text, line ends, and takeAway.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for rest := string(b); rest != ""; {
		switch {
		case strings.HasPrefix(rest, takeAway):
			s.line, rest = "", rest[len(takeAway):]
		case rest[0] == '\n':
			s.keep()
			s.line, rest = "", rest[1:]
		default:
			r, n := utf8.DecodeRuneInString(rest)
			s.line, rest = s.line+string(r), rest[n:]
		}
	}
	s.keep()
	return len(b), nil
}

func (s *screen) keep() {
	s.widest = max(s.widest, utf8.RuneCountInString(s.line))
	if s.line != "" && (len(s.seen) == 0 || s.seen[len(s.seen)-1] != s.line) {
		s.seen = append(s.seen, s.line)
	}
}

// onScreen are streams with a terminal's form on a screen of so many columns.
func onScreen(width int) (stdio, *screen) {
	s := &screen{}
	r := &reporter{form: &terminalForm{to: s, columns: func() int { return width }}}
	return stdio{out: &shared{r, s}, err: &shared{r, s}}, s
}

// inPipe are streams with a pipe's form.
func inPipe() (stdio, *bytes.Buffer) {
	b := &bytes.Buffer{}
	return reporting(stdio{out: new(bytes.Buffer), err: b}), b
}

// second is almost one, so that nothing ends in the moment in which it is looked at.
const second = 990 * time.Millisecond

// work is a phase that does a part of so many in each of so many seconds.
func work(begin progress.Begin, name string, parts int, unit string, each time.Duration, size int64) {
	done, end := begin.Phase(name, int64(parts)*size, unit)
	defer end()
	for range parts {
		time.Sleep(each)
		done(size)
	}
}

// TestPatience: phases that are over soon print nothing, in either form, unless many of
// them follow on each other.
func TestPatience(t *testing.T) {
	for name, long := range map[string]time.Duration{"none": 0, "a moment": time.Millisecond, "almost": patience - time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			io, s := onScreen(80)
			for range 20 { // however many there are
				work(io.phases(), "short", 1, "parts", long, 1)
				time.Sleep(moment + tick)
			}
			if len(s.seen) > 0 {
				t.Errorf("%s: a terminal has %q", name, s.seen)
			}
			for range 4 {
				work(io.phases(), "short", 1, "parts", long, 1)
				time.Sleep(moment)
			}
			if len(s.seen) == 0 && long > patience/2 {
				t.Errorf("%s: one after another they print nothing", name)
			}
			if s.line != "" {
				t.Errorf("%s: %q is left", name, s.line)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		io, b := inPipe()
		for range 5 {
			work(io.phases(), "short", 9, "parts", time.Second, 1)
		}
		if b.Len() > 0 {
			t.Errorf("a pipe has %q", b)
		}
	})
}

// TestTerminalForm: what stands on terminals of several widths after 3 seconds.
func TestTerminalForm(t *testing.T) {
	for _, c := range []struct {
		name  string
		total int64
		done  int64
		unit  string
		want  map[int]string // by columns
	}{
		{"compiling kernels", 326, 137, "kernels", map[int]string{
			8:   "compil…",
			20:  "compiling kernels",
			30:  "compiling kernels   42 %",
			80:  "compiling kernels  █████████░░░░░░░░░░░░░░   42 %  137 of 326 kernels, 4 s left",
			200: "compiling kernels  █████████████░░░░░░░░░░░░░░░░░░░   42 %  137 of 326 kernels, 4 s left",
		}},
		{"reading weights", 159_617_234_144, 30_000_000_000, progress.Bytes, map[int]string{
			20:  "reading weights",
			21:  "reading weights 18 %",
			24:  "reading weights   18 %",
			80:  "reading weights  ██░░░░░░░░░░   18 %  30.0 GB of 159.6 GB, 10.0 GB/s, 13 s left",
			200: "reading weights  ██████░░░░░░░░░░░░░░░░░░░░░░░░░░   18 %  30.0 GB of 159.6 GB, 10.0 GB/s, 13 s left",
		}},
		{"reading the prompt", 5, 0, progress.Tokens, map[int]string{
			20:  "reading the prompt",
			80:  "reading the prompt  ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░    0 %  0 of 5 tokens, 3 s",
			200: "reading the prompt  ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░    0 %  0 of 5 tokens, 3 s",
		}},
		{"opening the checkpoint", 0, 0, "", map[int]string{
			20:  "opening the checkp…",
			30:  "opening the checkpoint  3 s",
			80:  "opening the checkpoint  \\  3 s",
			200: "opening the checkpoint  \\  3 s",
		}},
		{"generating", 0, 1200, progress.Tokens, map[int]string{
			16:  "generating  3 s",
			20:  "generating  \\  3 s",
			80:  "generating  \\  1,200 tokens  3 s",
			200: "generating  \\  1,200 tokens  3 s",
		}},
		{"done and more", 10, 12, "parts", map[int]string{
			20: "done and more 100 %",
			80: "done and more  ████████████████████████████████  100 %  12 of 10 parts, 3 s",
		}},
	} {
		for width, want := range c.want {
			synctest.Test(t, func(t *testing.T) {
				io, s := onScreen(width)
				done, end := io.phases().Phase(c.name, c.total, c.unit)
				done(c.done)
				time.Sleep(3*time.Second + tick/2)
				if s.line != want || s.widest >= width {
					t.Errorf("%s in %d columns: %q, %d columns at most; expected %q", c.name, width, s.line, s.widest, want)
				}
				end()
				if s.line != "" {
					t.Errorf("%s in %d columns: %q is left", c.name, width, s.line)
				}
			})
		}
	}
}

// TestNestedPhases: parts stand behind what they are parts of, once they last, and from
// then on those of the same name at once.
func TestNestedPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		io, s := onScreen(80)
		begin := io.phases()
		done, end := begin.Phase("checking cpu", 4, "steps")
		work(begin, "quick", 1, "", second/10, 1)
		work(begin, "slow", 10, "parts", second/10, 1)
		done(1)
		work(begin, "slow", 2, "parts", second/10, 1)
		done(1)
		end()
		var names []string
		for _, line := range s.seen {
			name, _, _ := strings.Cut(line, "  ")
			if len(names) == 0 || names[len(names)-1] != name {
				names = append(names, name)
			}
		}
		want := []string{"checking cpu", "checking cpu 0/4: slow", "checking cpu 1/4: slow"}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("lines begin otherwise than expected:\n%s\n%s", diff, strings.Join(s.seen, "\n"))
		}
		if s.line != "" {
			t.Errorf("%q is left", s.line)
		}
	})
	synctest.Test(t, func(t *testing.T) { // an outer one that ends first
		io, s := onScreen(80)
		end := io.wait("outer")
		inner := io.wait("inner")
		time.Sleep(time.Second)
		end()
		time.Sleep(time.Second + tick/2)
		if want := "inner  -  2 s"; s.line != want {
			t.Errorf("after the outer one's end: %q, expected %q", s.line, want)
		}
		inner()
		inner() // once more does nothing
		if s.line != "" {
			t.Errorf("%q is left", s.line)
		}
	})
}

// TestPhaseThatFails: an error finds a clean line, and nothing is drawn after it.
func TestPhaseThatFails(t *testing.T) {
	fails := func(io stdio) error {
		done, end := io.phases().Phase("compiling kernels", 10, "kernels")
		defer end()
		time.Sleep(11 * time.Second)
		done(3)
		return errors.New("no memory")
	}
	synctest.Test(t, func(t *testing.T) {
		io, s := onScreen(80)
		fmt.Fprintf(io.err, "smelt: %v\n", fails(io))
		time.Sleep(time.Minute)
		if last := s.seen[len(s.seen)-1]; last != "smelt: no memory" || s.line != "" {
			t.Errorf("a terminal ends with %q and %q", last, s.line)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		io, b := inPipe()
		fmt.Fprintf(io.err, "smelt: %v\n", fails(io))
		time.Sleep(time.Minute)
		if want := "compiling kernels 0 of 10 kernels (10 s)\nsmelt: no memory\n"; b.String() != want {
			t.Errorf("a pipe has %q, expected %q", b, want)
		}
	})
}

// TestSharedTerminal: whatever else is written stands in lines of its own, and a line
// that is not complete is left alone.
func TestSharedTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		io, s := onScreen(80)
		end := io.wait("working")
		time.Sleep(time.Second)
		fmt.Fprintln(io.err, "note: the one thing")
		time.Sleep(tick)
		fmt.Fprint(io.out, "Once upon")
		time.Sleep(time.Second)
		if s.line != "Once upon" {
			t.Errorf("the text's line is %q", s.line)
		}
		fmt.Fprintln(io.out, " a time")
		time.Sleep(time.Second)
		if want := "working"; !strings.HasPrefix(s.line, want) {
			t.Errorf("after the text's line: %q, expected %q", s.line, want)
		}
		end()
		for _, want := range []string{"note: the one thing", "Once upon a time"} {
			if !strings.Contains(strings.Join(s.seen, "\n")+"\n", "\n"+want+"\n") {
				t.Errorf("%q is no line of:\n%s", want, strings.Join(s.seen, "\n"))
			}
		}
	})
}

// TestPipeForm: a line at 10 seconds, at 20, and so on, of what lasts that long, with its
// parts; standard output gets nothing.
func TestPipeForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		io, b := inPipe()
		begin := io.phases()
		work(begin, "hashing weights", 41, progress.Bytes, second, 3_000_000_000)
		work(begin, "opening the bundle", 6, "", second, 0)
		end := begin.Wait("verifying")
		work(begin, "check 1", 9, progress.Tokens, second, 1)
		work(begin, "check 2", 9, progress.Tokens, second, 1)
		time.Sleep(5 * time.Second)
		end()
		work(begin, "last", 12, "", second, 0)
		const want = `hashing weights 30.0 GB of 123.0 GB (10 s)
hashing weights 60.0 GB of 123.0 GB (20 s)
hashing weights 90.0 GB of 123.0 GB (30 s)
hashing weights 120.0 GB of 123.0 GB (40 s)
verifying: check 2 1 of 9 tokens (10 s)
verifying (20 s)
last (10 s)
`
		if diff := cmp.Diff(want, b.String()); diff != "" {
			t.Errorf("lines differ:\n%s", diff)
		}
		if out := io.out.(*bytes.Buffer); out.Len() > 0 {
			t.Errorf("standard output has %q", out)
		}
	})
}

// TestFollowedPhase: what is looked at instead of told.
func TestFollowedPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		io, s := onScreen(100)
		began := time.Now()
		end := io.follow("reading the prompt", 5, progress.Tokens, func() float64 { return time.Since(began).Seconds() / 2 })
		defer end()
		time.Sleep(3*time.Second + tick/2)
		if want := "reading the prompt  █████████░░░░░░░░░░░░░░░░░░░░░░░   30 %  1 of 5 tokens, 0.5 tokens/s, 7 s left"; s.line != want {
			t.Errorf("%q, expected %q", s.line, want)
		}
	})
}

// TestEnding: after Ctrl-C what still goes on says that it is being ended.
func TestEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		io, s := onScreen(100)
		end := io.wait("compiling")
		time.Sleep(time.Second)
		io.reporter().ends()
		time.Sleep(time.Second + tick/2)
		if want := "interrupted, ending: compiling  -  2 s"; s.line != want {
			t.Errorf("%q, expected %q", s.line, want)
		}
		end()
		if s.line != "" {
			t.Errorf("%q is left", s.line)
		}
	})
}

// TestNobodyIsTold: streams without a reporter take phases too.
func TestNobodyIsTold(t *testing.T) {
	io := stdio{out: new(bytes.Buffer), err: new(bytes.Buffer)}
	work(io.phases(), "anything", 3, "parts", 0, 1)
	io.wait("anything")()
	io.follow("anything", 3, "parts", func() float64 { return 1 })()
}

func TestSpent(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 1400 * time.Millisecond: "1 s", 59 * time.Second: "59 s", 59*time.Second + 600*time.Millisecond: "1 min 0 s",
		200 * time.Second: "3 min 20 s", 3600 * time.Second: "1 h 0 min", 27*time.Hour + 5*time.Minute: "27 h 5 min",
	} {
		if got := spent(d); got != want {
			t.Errorf("%v: %q, expected %q", d, got, want)
		}
	}
}
