// Package server answers HTTP requests with a model, in the protocols that clients of
// hosted models speak. Which paths there are is in the table of routes.go.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/engine"
	"smelt.example/smelt/internal/server/page"
	"smelt.example/smelt/internal/server/recall"
)

// Options say how a server serves. The zero value of a limit or time is its default.
type Options struct {
	api.Options
	// Keys are those that requests have to bring one of; without any, all may come.
	Keys []string
	// Loopback says that the server listens for this machine only. Without keys it then
	// refuses requests that web pages send.
	Loopback bool
	// Origins are those of web pages that may read answers; "*" is all.
	Origins []string
	// Log gets a line for each request.
	Log *slog.Logger
	// ReadTimeout is how long a request may take to arrive. One that is let in has longer
	// for its body.
	ReadTimeout time.Duration
	// Grace is how long texts may go on when the server ends.
	Grace time.Duration
}

// Defaults of Options.
const (
	defaultBody      = 64 << 20
	defaultAlive     = 5 * time.Second
	defaultWriteTime = 30 * time.Second
	defaultGrace     = 30 * time.Second
	defaultReadTime  = 10 * time.Second
	idleTime         = 2 * time.Minute
	maxHeader        = 64 << 10
	rememberedBytes  = 64 << 20 // of turns, as the model wrote them
)

// Server is an http.Handler. It answers that it is loading until Ready.
type Server struct {
	options Options
	keys    keys
	meter   *meter
	memory  *recall.Memory
	routes  map[string]route
	page    page.Document
	engine  atomic.Pointer[engine.Engine]
}

// New makes a server.
func New(o Options) *Server {
	if o.MaxBody == 0 {
		o.MaxBody = defaultBody
	}
	if o.KeepAlive == 0 {
		o.KeepAlive = defaultAlive
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = defaultWriteTime
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = defaultReadTime
	}
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{options: o, keys: newKeys(o.Keys), memory: recall.New(rememberedBytes), routes: map[string]route{}, page: page.New()}
	s.meter = newMeter(s.slots, s.cache)
	for _, r := range s.table() {
		s.routes[r.path] = r
	}
	return s
}

// Ready says that the model is open.
func (s *Server) Ready(e engine.Engine) { s.engine.Store(&e) }

// opened is the engine, nil while the model opens.
func (s *Server) opened() engine.Engine {
	if e := s.engine.Load(); e != nil {
		return *e
	}
	return nil
}

func (s *Server) slots() int {
	if e := s.opened(); e != nil {
		return e.Model().Slots
	}
	return 0
}

// cache is what is kept of prompts and texts: nothing while the model opens.
func (s *Server) cache() engine.Cache {
	if e := s.opened(); e != nil {
		return e.Cache()
	}
	return engine.Cache{}
}

// Serve answers on a listener until ctx ends. Then nothing new is accepted, and what is
// being answered may go on for Options.Grace.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	texts, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	h := &http.Server{
		Handler: s, ReadTimeout: s.options.ReadTimeout, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return texts },
		ErrorLog:    slog.NewLogLogger(s.options.Log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	err := shutdown(h, s.options.Grace)
	if errors.Is(err, context.DeadlineExceeded) {
		s.options.Log.Warn("requests that still ran were ended", "after", s.options.Grace)
		end(engine.ErrClosed)
		if err = shutdown(h, farewell); errors.Is(err, context.DeadlineExceeded) {
			err = h.Close()
		}
	}
	if e := <-failed; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// farewell is how long answers may take to say that the server ends.
const farewell = 5 * time.Second

// shutdown accepts nothing new and waits, not longer than that, for what runs.
func shutdown(h *http.Server, most time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	return h.Shutdown(ctx)
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	c := api.NewCall(w, r)
	route, name := s.find(r.URL.Path)
	c.Options, c.Meter, c.Memory, c.Shape, c.Name = &s.options.Options, s.meter, s.memory, route.shape, name
	c.SetHeader("X-Request-Id", c.ID)
	c.SetHeader("Request-Id", c.ID)
	c.SetHeader("X-Content-Type-Options", "nosniff")
	defer s.ended(c, r, route, begun)
	if s.cors(c, r) {
		return
	}
	if err := s.answer(c, r, route); err != nil {
		if c.Left() {
			return
		}
		c.Fail(err)
	}
}

// answer runs a request's handler, if it may come.
func (s *Server) answer(c *api.Call, r *http.Request, route route) error {
	if !route.open {
		if err := s.allowed(r); err != nil {
			return err
		}
	}
	handle, ok := route.methods[r.Method]
	switch {
	case route.methods == nil:
		return &api.Error{Status: http.StatusNotFound, Code: "not_found", Message: fmt.Sprintf("there is no path %.100q here; GET /v1/models and POST /v1/chat/completions are among those there are", r.URL.Path)}
	case !ok:
		c.SetHeader("Allow", route.allow())
		return &api.Error{Status: http.StatusMethodNotAllowed, Message: fmt.Sprintf("found method %.20s, expected %s", r.Method, route.allow())}
	}
	if c.Engine = s.opened(); c.Engine == nil && !route.unopened {
		return api.Loading()
	}
	return handle(c)
}

// ended writes the request's line, also if the handler failed us.
func (s *Server) ended(c *api.Call, r *http.Request, route route, begun time.Time) {
	if bug := recover(); bug != nil {
		c.Note("panic", fmt.Sprint(bug))
		c.Note("stack", string(debug.Stack()))
		c.Fail(errors.New("a bug in smelt"))
	}
	left := c.Left()
	s.meter.request(route.path, c.Status(), left)
	if route.quiet && c.Status() == http.StatusOK {
		return
	}
	level := slog.LevelInfo
	if c.Status() >= http.StatusInternalServerError && c.Status() != http.StatusServiceUnavailable {
		level = slog.LevelError
	}
	attrs := []slog.Attr{slog.String("id", c.ID), slog.String("endpoint", r.Method+" "+route.path), slog.Int("status", c.Status()), slog.Duration("took", time.Since(begun).Round(time.Millisecond))}
	if left {
		attrs = append(attrs, slog.Bool("client_left", true))
	}
	s.options.Log.LogAttrs(r.Context(), level, "request", append(attrs, c.Notes()...)...)
}
