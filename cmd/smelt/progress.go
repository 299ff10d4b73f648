package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress is a bar on a terminal and nothing elsewhere.
type progress struct{ bar *progressbar.ProgressBar }

// redraw is the least time between two states of a bar that are drawn.
const redraw = 100 * time.Millisecond

// newProgress counts tokens.
func newProgress(w io.Writer, total int, what string) progress {
	return newBar(w, int64(total), what, progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("tokens"))
}

// newCountProgress counts what has no speed worth telling.
func newCountProgress(w io.Writer, total int, what string) progress {
	return newBar(w, int64(total), what, progressbar.OptionShowCount())
}

func newBytesProgress(w io.Writer, total int64, what string) progress {
	return newBar(w, total, what, progressbar.OptionShowBytes(true))
}

func newBar(w io.Writer, total int64, what string, options ...progressbar.Option) progress {
	if !isTerminal(w) {
		return progress{}
	}
	options = append(options, progressbar.OptionThrottle(redraw), progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what), progressbar.OptionClearOnFinish())
	return progress{progressbar.NewOptions64(total, options...)}
}

// Set shows how much is done; Clear takes the bar away. A terminal that
// cannot be drawn on is no reason to stop.
func (p progress) Set(done int) {
	if p.bar != nil {
		_ = p.bar.Set(done)
	}
}

// SetBytes is Set for numbers of bytes.
func (p progress) SetBytes(done int64) {
	if p.bar != nil {
		_ = p.bar.Set64(done)
	}
}

func (p progress) Clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// waiting says on a terminal what takes long, if it does.
type waiting struct {
	timer *time.Timer
	shown chan struct{} // closed when the line has been written
	file  *os.File
}

// patience is how long something may take in silence.
const patience = time.Second

func startWaiting(stream any, what string) *waiting {
	if !isTerminal(stream) {
		return &waiting{}
	}
	w := &waiting{shown: make(chan struct{}), file: stream.(*os.File)}
	w.timer = time.AfterFunc(patience, func() {
		fmt.Fprint(w.file, what+" ...")
		close(w.shown)
	})
	return w
}

// done takes the line away.
func (w *waiting) done() {
	if w.timer != nil && !w.timer.Stop() {
		<-w.shown
		fmt.Fprint(w.file, "\r\x1b[K")
	}
}
