package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	lib "smelt.example/smelt"
	"smelt.example/smelt/internal/hub"
	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/chat"
	"smelt.example/smelt/internal/runtime/admission"
	"smelt.example/smelt/internal/runtime/devices"
	"smelt.example/smelt/internal/server"
	"smelt.example/smelt/internal/server/live"
)

// serveOptions are the flags of `smelt serve`.
type serveOptions struct {
	host, name string
	profile    string
	port       int
	queue      int
	noPadding  bool
	access     accessFlags
	open       lib.Options
	server     server.Options
}

func newServe(io stdio) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve CHECKPOINT|BUNDLE",
		Short: "Answer HTTP requests, in the protocols of OpenAI and Anthropic",
		Long: `Serve opens a model and answers requests until Ctrl-C or SIGTERM: no new ones are
accepted then, and those that run have 30 s. The address is the one line on standard
output, when the model is open; each request is a line on standard error.

` + serveEndpoints + `
Paths work with and without /v1. Any model name is served by the model that is open,
unless --strict-model. docs/server.md has the fields, and what is not there yet.

Without a key, only this machine is listened to and served. For others give keys, by
--api-key-file, SMELT_API_KEY or --api-key (which other users of this machine can see),
or --no-auth.

What was computed of prompts and answers is kept, in the slots and in --cache-ram beside
them: a prompt reads only what no text before it began with.`,
		Example: `  smelt serve CHECKPOINT
  smelt serve BUNDLE --port 0 --slots 2 --queue 16
  smelt serve CHECKPOINT --host 0.0.0.0 --api-key-file keys.txt`,
		Args:              oneModel,
		ValidArgsFunction: completeCheckpoint(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return serveModel(cmd, io, args[0], o)
		},
	}
	o.add(cmd)
	return cmd
}

func (o *serveOptions) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.host, "host", "127.0.0.1", "address to listen at; 0.0.0.0 and :: are all")
	intFlag(f, &o.port, "port", "", 8080, from(0, 65535), "port to listen at, 0 for any that is free")
	o.access.add(f)
	intFlag(f, &o.open.Slots, "slots", "", 0, slotCounts, "texts at once (default 1, or the bundle's)")
	intFlag(f, &o.queue, "queue", "", 64, from(0, 1<<20), "requests that may wait for a slot")
	intFlag(f, &o.server.MaxTokens, "max-tokens", "n", 0, tokenCounts, "longest text in tokens (default: what is left of the context)")
	f.StringVar(&o.name, "name", "", "the model's name for clients (default: that of its folder, or its id)")
	f.BoolVar(&o.server.StrictModel, "strict-model", false, "refuse requests that name another model")
	f.BoolVar(&o.server.NoThinking, "no-think", false, "answer without reasoning where a request does not ask for it")
	f.StringVar(&o.profile, "chat-profile", "", "revision of the chat format: preview or 0731 (default: by the encoder beside the weights, else preview)")
	f.StringVar(&o.server.Effort, "effort", "", "how long to reason where a request does not say: low, medium, high or max (default: the model's own)")
	f.BoolVar(&o.server.LogPrompts, "log-prompts", false, "write the text of prompts to the log")
	f.BoolVar(&o.noPadding, "no-padding", false, "send no newlines ahead of an answer in one piece that takes longer than 15 s")
	openFlags(cmd, &o.open)
	cacheRAMFlag(cmd, &o.open.CacheRAM, admission.Auto)
	for _, text := range []string{"host", "api-key", "cors-origin", "name"} {
		completeWords(cmd, text)
	}
	completeWords(cmd, "chat-profile", "preview", "0731")
	completeWords(cmd, "effort", "low", "medium", "high", "max")
}

// serveEndpoints lists what there is, for --help.
const serveEndpoints = `  POST /v1/chat/completions         OpenAI's, with DeepSeek's additions
  POST /v1/completions              a text's continuation
  POST /v1/responses                OpenAI's, without memory of earlier ones (Codex)
  POST /v1/messages, .../count_tokens   Anthropic's (Claude Code)
  POST /tokenize, /detokenize, /apply-template
  GET  /v1/models, /health, /metrics
`

// plainKeepAlive is after how long an answer in one piece shows that it is on its way.
const plainKeepAlive = 15 * time.Second

func serveModel(cmd *cobra.Command, io stdio, path string, o serveOptions) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM)
	defer stop()
	files, err := openFiles(io, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	if err := o.look(io, files); err != nil {
		return err
	}
	listener, err := o.listen(ctx)
	if err != nil {
		return err
	}
	o.server.Log = slog.New(slog.NewTextHandler(io.err, nil))
	s := server.New(o.server)
	return serveWhile(ctx, s, listener, func(ctx context.Context, served <-chan struct{}) error {
		return o.run(ctx, io, files, s, "http://"+listener.Addr().String(), served)
	})
}

func (o *serveOptions) listen(ctx context.Context) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(o.host, strconv.Itoa(o.port)))
	if err == nil {
		return l, nil
	}
	advice := "give an address of this machine, and a port that you may listen at"
	if errors.Is(err, syscall.EADDRINUSE) {
		advice = "another program listens there: give another --port"
	}
	return nil, fmt.Errorf("--host %s --port %d: %w; %s", o.host, o.port, err, advice)
}

// serveWhile serves until ctx or work ends. The ctx of work ends when the server is to
// end, or fails; served is closed when it has ended.
func serveWhile(ctx context.Context, s *server.Server, l net.Listener, work func(ctx context.Context, served <-chan struct{}) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failed error
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer cancel()
		failed = s.Serve(ctx, l)
	}()
	err := work(ctx, served)
	cancel()
	<-served
	return errors.Join(err, failed)
}

// look finds what may be wrong with the model before anybody listens.
func (o *serveOptions) look(io stdio, files *lib.Files) error {
	if _, err := readTokenizer(io, files.Tokenizer); err != nil {
		return err
	}
	if err := printNotes(io, files); err != nil {
		return err
	}
	complete, err := files.Complete(o.open)
	if err != nil {
		return err
	}
	if err := o.chat(io, files); err != nil {
		return err
	}
	if o.name == "" {
		o.name = nameOf(files.Model.Checkpoint.Dir)
	}
	_, err = live.Describe(files, o.name, complete)
	return err
}

// chat settles the model's chat format, and says which it is.
func (o *serveOptions) chat(io stdio, files *lib.Files) error {
	format := files.Model.Chat
	if format == nil {
		if o.profile != "" || o.server.Effort != "" {
			return fmt.Errorf("--chat-profile and --effort: this model has no chat format; leave them out")
		}
		fmt.Fprintln(io.err, "note: this model has no chat format; it serves /v1/completions and tokens only")
		return nil
	}
	if o.profile != "" {
		several, ok := format.(chat.Profiled)
		if !ok || !slices.Contains(several.Profiles(), o.profile) {
			return fmt.Errorf("--chat-profile %s: expected one of %s's: preview or 0731", o.profile, format.Name())
		}
		format = several.In(o.profile)
		files.Model.Chat = format
	}
	fmt.Fprintf(io.err, "chat format %s\n", format.Name())
	if _, _, err := format.Effort(o.server.Effort); err != nil {
		return fmt.Errorf("--effort: %w", err)
	}
	return nil
}

// nameOf is how clients know a checkpoint.
func nameOf(dir string) string {
	if d, ok := hub.Of(dir); ok && d.ID != "" {
		return d.ID
	}
	if whole, err := filepath.Abs(dir); err == nil {
		dir = whole
	}
	return filepath.Base(dir)
}

// run opens the model and has it until the server has ended. To be told to end while the
// model opens is no error either.
func (o *serveOptions) run(ctx context.Context, io stdio, files *lib.Files, s *server.Server, address string, served <-chan struct{}) (err error) {
	m, err := startModel(ctx, io, files, o.open)
	if errors.Is(err, errInterrupted) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if ctx.Err() != nil { // nobody is to come any more
		return nil
	}
	e, err := live.New(m, o.name)
	if err != nil {
		return err
	}
	fmt.Fprintln(io.err, keptLine(m.Options().CacheRAM))
	s.Ready(e)
	if _, err := fmt.Fprintln(io.out, address); err != nil {
		return err
	}
	<-served
	return nil
}

// keptLine says how much is kept of texts that have lost their slot.
func keptLine(bytes int64) string {
	if bytes == 0 {
		return "kept of texts that lose their slot: nothing (--cache-ram)"
	}
	return "kept of texts that lose their slot: up to " + message.Bytes(bytes) + " (--cache-ram)"
}

// check refuses flags that make no sense, before any file is opened.
func (o *serveOptions) check() error {
	if err := (deviceOptions{o.open.Device, devices.Options{Target: o.open.Target}}).check(); err != nil {
		return err
	}
	keys, err := o.access.all(os.Getenv("SMELT_API_KEY"))
	if err != nil {
		return err
	}
	if err := o.access.checkOrigins(); err != nil {
		return err
	}
	o.server.Keys, o.server.Origins, o.server.Loopback = keys, o.access.origins, isLoopback(o.host)
	if len(keys) == 0 && !o.server.Loopback && !o.access.none {
		return fmt.Errorf("--host %s lets other machines in, and there is no key: give --api-key-file, SMELT_API_KEY or --api-key, or --no-auth to serve all who come", o.host)
	}
	if !o.noPadding {
		o.server.PlainKeepAlive = plainKeepAlive
	}
	if o.open.Queue = o.queue; o.queue == 0 {
		o.open.Queue = -1 // the library's word for none
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// accessFlags say who may come.
type accessFlags struct {
	keys    []string
	file    string
	none    bool
	origins []string
}

func (a *accessFlags) add(f *pflag.FlagSet) {
	f.StringArrayVar(&a.keys, "api-key", nil, "a key that requests have to bring; may be given several times")
	f.StringVar(&a.file, "api-key-file", "", "file of keys, one a line")
	f.BoolVar(&a.none, "no-auth", false, "serve all who come, also from other machines")
	f.StringArrayVar(&a.origins, "cors-origin", nil, "origin of web pages that may read answers, such as https://page.example, or *; may be given several times")
}
