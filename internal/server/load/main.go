// Command load starts smelt serve, drives it with clients, and prints what they saw: tokens
// a second, times to the first token and between tokens, the server's memory over many
// requests, and what others notice of a client that reads nothing.
//
//	go run ./internal/server/load -smelt bin/smelt CHECKPOINT [-- flags of smelt serve]
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are what is measured.
type options struct {
	smelt   string
	clients []int
	texts   int // of each measurement
	tokens  int // of each text, at most
	soak    int // requests while memory is looked at
	stalled time.Duration
	deaf    int // clients that read nothing
}

func main() {
	o := options{clients: []int{1, 4, 16, 64, 1}}
	flag.StringVar(&o.smelt, "smelt", "bin/smelt", "the program")
	flag.Func("clients", "how many at once, one measurement each (1,4,16,64,1)", func(text string) (err error) {
		o.clients, err = numbers(text)
		return err
	})
	flag.IntVar(&o.texts, "texts", 128, "texts of a measurement")
	flag.IntVar(&o.tokens, "tokens", 96, "tokens of a text")
	flag.IntVar(&o.soak, "soak", 10000, "requests while memory is looked at; 0 leaves that out")
	flag.DurationVar(&o.stalled, "stalled", time.Minute, "how long clients read nothing; 0 leaves that out")
	flag.IntVar(&o.deaf, "deaf", 2, "how many clients read nothing")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func numbers(text string) (list []int, err error) {
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("found %q, expected numbers from 1", word)
		}
		list = append(list, n)
	}
	return list, nil
}

// run does all measurements with one server.
func run(ctx context.Context, o options, args []string) (err error) {
	s, err := start(ctx, o.smelt, args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	c := &client{url: s.url}
	if err := frontier(ctx, os.Stdout, c, o); err != nil {
		return err
	}
	if o.stalled > 0 {
		if err := stalled(ctx, os.Stdout, c, o); err != nil {
			return err
		}
	}
	if o.soak > 0 {
		return soak(ctx, os.Stdout, c, s.memory, o)
	}
	return nil
}

// process is a server that runs.
type process struct {
	cmd *exec.Cmd
	url string
}

// start starts a server and waits for its address.
func start(ctx context.Context, smelt string, args []string) (*process, error) {
	flags := args[1:]
	if len(flags) > 0 && flags[0] == "--" {
		flags = flags[1:]
	}
	cmd := exec.CommandContext(ctx, smelt, append([]string{"serve", args[0], "--port", "0"}, flags...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	log, err := os.CreateTemp("", "smelt-load-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server did not open; %s says why", log.Name()), cmd.Wait())
	}
	fmt.Printf("%s %s, log %s\n\n", smelt, strings.Join(cmd.Args[1:], " "), log.Name())
	return &process{cmd, strings.TrimSpace(line)}, nil
}

func (p *process) stop() error {
	return errors.Join(p.cmd.Process.Signal(os.Interrupt), p.cmd.Wait())
}

// memory is what the server has resident, in KB.
func (p *process) memory() (int, error) {
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(p.cmd.Process.Pid)).Output()
	if err != nil {
		return 0, fmt.Errorf("ps: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

// frontier measures how the same texts come with more and more clients.
func frontier(ctx context.Context, w io.Writer, c *client, o options) error {
	if _, err := c.drive(ctx, 1, min(o.texts, 4), o.tokens); err != nil { // to warm up
		return err
	}
	fmt.Fprintln(w, "clients   texts  tokens  tokens/s  of one   first p50     p95   between p50     p95")
	var one float64
	for i, n := range o.clients {
		r, err := c.drive(ctx, n, o.texts, o.tokens)
		if err != nil {
			return err
		}
		if i == 0 {
			one = r.rate()
		}
		fmt.Fprintf(w, "%7d %7d %7d %9.0f %6.2fx %s %s\n", n, o.texts, r.tokens, r.rate(), r.rate()/one, spread(r.first, 11), spread(r.between, 13))
	}
	return nil
}

// spread is the median and the 95th percentile, in ms.
func spread(list []time.Duration, width int) string {
	return fmt.Sprintf("%*.1f %7.1f", width, ms(quantile(list, 0.5)), ms(quantile(list, 0.95)))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile is the value that a share of the list does not exceed; 0 of an empty list.
func quantile(list []time.Duration, share float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	list = slices.Sorted(slices.Values(list))
	return list[min(int(share*float64(len(list))), len(list)-1)]
}

// stalled compares four clients alone and beside some that read nothing.
func stalled(ctx context.Context, w io.Writer, c *client, o options) error {
	fmt.Fprintf(w, "\nfour clients for %v           texts  tokens/s   first p50     p95   between p50     p95\n", o.stalled)
	for _, deaf := range []int{0, o.deaf, 0} {
		sub, cancel := context.WithCancel(ctx)
		ended := make(chan error, deaf)
		for range deaf {
			go func() { ended <- c.deaf(sub) }()
		}
		r, err := c.during(ctx, 4, o.stalled, o.tokens)
		cancel()
		for range deaf {
			err = errors.Join(err, <-ended)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%-32s %6d %9.0f %s %s\n", fmt.Sprintf("beside %d that read nothing", deaf), len(r.first), r.rate(), spread(r.first, 11), spread(r.between, 13))
	}
	return nil
}

// soak looks at the server's memory over many requests.
func soak(ctx context.Context, w io.Writer, c *client, memory func() (int, error), o options) error {
	const short, step, clients = 8, 1000, 16
	fmt.Fprintf(w, "\nrequests  resident MB   tokens/s   first p95 ms\n")
	for done := 0; ; {
		kb, err := memory()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%8d %12.1f", done, float64(kb)/1024)
		if done >= o.soak {
			fmt.Fprintln(w)
			return nil
		}
		r, err := c.drive(ctx, clients, min(step, o.soak-done), short)
		if err != nil {
			return err
		}
		done += min(step, o.soak-done)
		fmt.Fprintf(w, " %10.0f %14.1f\n", r.rate(), ms(quantile(r.first, 0.95)))
	}
}
