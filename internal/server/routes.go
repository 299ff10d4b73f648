package server

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"smelt.example/smelt/internal/server/anthropic"
	"smelt.example/smelt/internal/server/api"
	"smelt.example/smelt/internal/server/openai"
	"smelt.example/smelt/internal/server/responses"
)

// route is one endpoint.
type route struct {
	path     string // without /v1
	methods  map[string]func(*api.Call) error
	shape    api.Shape
	open     bool // for all, without a key
	unopened bool // also while the model opens
	quiet    bool // no line in the log if all is well
}

func get(h func(*api.Call) error) map[string]func(*api.Call) error {
	return map[string]func(*api.Call) error{http.MethodGet: h, http.MethodHead: h}
}

func post(h func(*api.Call) error) map[string]func(*api.Call) error {
	return map[string]func(*api.Call) error{http.MethodPost: h}
}

// table lists all endpoints.
func (s *Server) table() []route {
	return []route{
		{path: "/", methods: get(s.index), shape: api.OpenAI, open: true, unopened: true, quiet: true},
		{path: "/health", methods: get(s.health), shape: api.OpenAI, open: true, unopened: true, quiet: true},
		{path: "/metrics", methods: get(s.metrics), shape: api.OpenAI, unopened: true, quiet: true},
		{path: "/models", methods: get(models), shape: api.OpenAI},
		{path: "/models/", methods: get(oneModel), shape: api.OpenAI},
		{path: "/chat/completions", methods: post(openai.Chat), shape: api.OpenAI},
		{path: "/completions", methods: post(openai.Completions), shape: api.OpenAI},
		{path: "/messages", methods: post(anthropic.Messages), shape: api.Anthropic},
		{path: "/messages/count_tokens", methods: post(anthropic.CountTokens), shape: api.Anthropic},
		{path: "/responses", methods: post(responses.Responses), shape: api.OpenAI},
		{path: "/tokenize", methods: post(openai.Tokenize), shape: api.OpenAI},
		{path: "/detokenize", methods: post(openai.Detokenize), shape: api.OpenAI},
		{path: "/apply-template", methods: post(openai.ApplyTemplate), shape: api.OpenAI},
	}
}

// allow lists the methods of a route.
func (r route) allow() string {
	return strings.Join(slices.Sorted(maps.Keys(r.methods)), ", ")
}

// find is the route of a path: with and without /v1 and with a slash at its end. Of a
// model's the rest is its name. An unknown path has a route without methods.
func (s *Server) find(path string) (r route, name string) {
	path = strings.TrimRight(path, "/")
	if path == "/v1" || strings.HasPrefix(path, "/v1/") {
		path = path[len("/v1"):]
	}
	if path == "" {
		path = "/"
	}
	if r, ok := s.routes[path]; ok {
		return r, ""
	}
	const named = "/models/"
	if name, ok := strings.CutPrefix(path, named); ok {
		return s.routes[named], name
	}
	shape := api.OpenAI
	if strings.HasPrefix(path, "/messages") {
		shape = api.Anthropic
	}
	return route{path: "unknown", shape: shape}, ""
}

// index is the page to chat at for browsers, and the list of endpoints for other clients
// that look whether anybody is there.
func (s *Server) index(c *api.Call) error {
	c.SetHeader("Vary", "Accept, Origin")
	if c.Accepts("text/html") {
		c.SetHeader("Content-Type", "text/html; charset=utf-8")
		c.SetHeader("Content-Security-Policy", s.page.Policy)
		c.SetHeader("Cache-Control", "no-cache")
		return c.Raw(http.StatusOK, s.page.HTML)
	}
	text := "smelt answers at these paths, with and without /v1:\n\n"
	for _, r := range s.table() {
		if r.path != "/" {
			text += fmt.Sprintf("%-9s %s\n", r.allow(), r.path)
		}
	}
	c.SetHeader("Content-Type", "text/plain; charset=utf-8")
	return c.Raw(http.StatusOK, []byte(text))
}

func (s *Server) health(c *api.Call) error {
	status := struct {
		Status string `json:"status"`
	}{"ok"}
	code := http.StatusOK
	if c.Engine == nil {
		status.Status, code = "loading", http.StatusServiceUnavailable
		c.SetHeader("Retry-After", "5")
	}
	return c.JSON(code, status)
}

// model is a model as it is listed.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	Owner   string `json:"owned_by"`
	Context int    `json:"max_model_len"`
}

func modelOf(c *api.Call, id string) model {
	m := c.Engine.Model()
	return model{id, "model", m.Created.Unix(), "smelt", m.Context}
}

func models(c *api.Call) error {
	return c.JSON(http.StatusOK, struct {
		Object string  `json:"object"`
		Data   []model `json:"data"`
	}{"list", []model{modelOf(c, c.Engine.Model().ID)}})
}

// oneModel knows every name, as requests may have any.
func oneModel(c *api.Call) error {
	if err := c.Resolve(c.Name); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, modelOf(c, c.Name))
}
