package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"smelt.example/smelt/internal/server/api"
)

// keys are hashes, which are all of one length.
type keys [][sha256.Size]byte

func newKeys(texts []string) (k keys) {
	for _, text := range texts {
		k = append(k, sha256.Sum256([]byte(text)))
	}
	return k
}

// has compares with every key in the same time, whatever is found.
func (k keys) has(text string) bool {
	hash, found := sha256.Sum256([]byte(text)), 0
	for _, own := range k {
		found |= subtle.ConstantTimeCompare(hash[:], own[:])
	}
	return found == 1
}

// one tells whether one of some texts is a key.
func (k keys) one(texts []string) bool {
	found := false
	for _, text := range texts {
		found = k.has(text) || found
	}
	return found
}

// keysOf are the keys that a request brings: clients may send both headers.
func keysOf(r *http.Request) []string {
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		bearer = ""
	}
	return []string{r.Header.Get("X-Api-Key"), strings.TrimSpace(bearer)}
}

// allowed tells whether a request may come: with a key if there are any, otherwise, if
// the server is for this machine only, not by way of a web page.
func (s *Server) allowed(r *http.Request) error {
	if len(s.keys) > 0 {
		if !s.keys.one(keysOf(r)) {
			return &api.Error{Status: http.StatusUnauthorized, Code: "invalid_api_key", Message: "no valid key: send one of the server's as Authorization: Bearer KEY or x-api-key: KEY"}
		}
		return nil
	}
	if !s.options.Loopback {
		return nil
	}
	// A page may have its own name lead to this machine, or send here what it likes.
	if !loopback(r.Host) {
		return &api.Error{Status: http.StatusForbidden, Message: "the Host header names another machine; without an API key only localhost, 127.0.0.1 and [::1] are served"}
	}
	if origin := r.Header.Get("Origin"); origin != "" && !s.origin(origin) && !loopbackOrigin(origin) {
		return &api.Error{Status: http.StatusForbidden, Message: "a web page of another origin than the server allows; have the server allow it, or require a key"}
	}
	return nil
}

// loopback tells whether a host, with or without a port, is this machine.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func loopbackOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && loopback(u.Host)
}

// origin tells whether a page of that origin may read answers.
func (s *Server) origin(origin string) bool {
	return slices.Contains(s.options.Origins, "*") || slices.Contains(s.options.Origins, origin)
}

// cors lets pages of known origins read answers. It reports whether the request only
// asked for that.
func (s *Server) cors(c *api.Call, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || len(s.options.Origins) == 0 {
		return false
	}
	c.SetHeader("Vary", "Origin")
	if !s.origin(origin) {
		return false
	}
	c.SetHeader("Access-Control-Allow-Origin", origin)
	c.SetHeader("Access-Control-Expose-Headers", "X-Request-Id, Request-Id, Retry-After, Smelt-Note")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	c.SetHeader("Access-Control-Allow-Methods", "GET, POST")
	if headers := r.Header.Get("Access-Control-Request-Headers"); headers != "" {
		c.SetHeader("Access-Control-Allow-Headers", headers)
	}
	c.SetHeader("Access-Control-Max-Age", "600")
	if err := c.Raw(http.StatusNoContent, nil); err != nil {
		c.Note("write", err.Error())
	}
	return true
}
