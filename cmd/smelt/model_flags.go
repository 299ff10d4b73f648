package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	lib "smelt.example/smelt"
	"smelt.example/smelt/internal/runtime/devices"
)

// modelFlags are the flags of commands that generate texts: how long they are, how their
// tokens are picked, and what runs the model.
type modelFlags struct {
	maxTokens int
	sampling  samplingFlags
	open      lib.Options
}

// add makes the flags.
func (m *modelFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	intFlag(f, &m.maxTokens, "max-tokens", "n", 0, tokenCounts, "stop after this many tokens (default: when the model ends or the context is full)")
	m.sampling.add(f)
	completeWords(cmd, "stop") // to nothing, and not to files
	openFlags(cmd, &m.open)
	cacheRAMFlag(cmd, &m.open.CacheRAM, 0)
}

// openFlags are those of what runs a model, and of its sizes.
func openFlags(cmd *cobra.Command, o *lib.Options) {
	f := cmd.Flags()
	intFlag(f, &o.Context, "context", "", 0, contexts, "longest text in tokens, prompt included (default: the model's)")
	intFlag(f, &o.Chunk, "chunk", "", 0, chunks, "prompt tokens per step (default 128, or the bundle's limit if that is less)")
	f.StringVar(&o.Device, "device", devices.Auto, "what runs the model: "+devices.All().Choices())
	intFlag(f, &o.Threads, "threads", "", 0, threadCounts(), "threads of --device cpu, 0 for all processors")
	gpuFlag(f, &o.GPU)
	targetFlag(cmd, &o.Target)
	pagingFlag(f, &o.AllowPaging)
	completeDevice(cmd, devices.All(), autoDevice)
}

// Parts of the help of commands with these flags.
const samplingHelp = `How tokens are picked, and --stop, default to the checkpoint's
generation_config.json, or to the most likely token (--temp 0) if there is none.
Penalties act first: that of repetition on tokens of prompt and text, those of
presence and frequency on the text's; then temperature, top-k, top-p, min-p. The same
seed gives the same text; without --seed one is drawn and shown.`

// devicesHelp explains --device.
func devicesHelp() string {
	return `--device auto takes the first of the devices that works and is not slow, and says
which. The devices are:

` + deviceList() + `
The metal device was written and checked without a Mac; --device cpu avoids it.

What has no room in memory is refused before it starts, with what to change. Weights
beyond all memory are read from the disk again and again; --allow-paging lets that
happen, and says how fast it will be. Metal has all in memory or refuses.`
}

// check refuses what makes no sense, before any file is opened.
func (m *modelFlags) check() error {
	if err := (deviceOptions{m.open.Device, devices.Options{Target: m.open.Target}}).check(); err != nil {
		return err
	}
	return m.sampling.check()
}

// request puts the flags into a request, and says what is odd about the model. What may be
// wrong with it, but for the prompt, is found here, before a device is opened.
func (m *modelFlags) request(cmd *cobra.Command, io stdio, files *lib.Files) (r lib.Request, err error) {
	if _, err := readTokenizer(io, files.Tokenizer); err != nil {
		return r, err
	}
	if err := m.sampling.request(cmd, files, &r); err != nil {
		return r, err
	}
	if err := printNotes(io, files); err != nil {
		return r, err
	}
	_, err = files.Complete(m.open)
	r.MaxTokens = m.maxTokens
	return r, err
}

// startModel opens a model on its device, and says which that is unless it was named.
func startModel(ctx context.Context, io stdio, files *lib.Files, o lib.Options) (*lib.Model, error) {
	o.Watch = io.watch()
	end := io.wait("preparing")
	model, err := files.Start(ctx, o)
	end()
	if err != nil {
		return nil, interrupted(err)
	}
	if doc, why := model.DeviceChoice(); why != "" {
		fmt.Fprintf(io.err, "device %s: %s (%s)\n", model.Device(), doc, why)
	}
	return model, nil
}

// chatFlags say how messages are answered.
type chatFlags struct {
	system, effort string
	think, hide    bool
}

// add makes the flags; where says when they count.
func (c *chatFlags) add(cmd *cobra.Command, where string) {
	f := cmd.Flags()
	f.StringVar(&c.system, "system", "", "system text"+where)
	f.BoolVar(&c.think, "think", false, "let the model reason before it answers"+where)
	f.StringVar(&c.effort, "effort", "", "how long to reason, with --think: a word of the model's chat format, such as high or max")
	f.BoolVar(&c.hide, "hide-thinking", false, "do not show the reasoning")
	completeWords(cmd, "system") // to nothing, and not to files
	completeWords(cmd, "effort", "low", "high", "max")
}

// withoutChat explains an error about a model that was not made for chat.
func withoutChat(err error, instead string) error {
	if errors.Is(err, lib.ErrNoChat) {
		return fmt.Errorf("%w %s", err, instead)
	}
	return err
}
