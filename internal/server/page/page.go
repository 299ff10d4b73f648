// Package page has the page on which people talk with the model in a browser. It is one
// document that fetches nothing but the server's answers.
package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"strings"
)

var (
	//go:embed page.html
	frame string
	//go:embed page.css
	style string
	//go:embed page.js
	script string
)

// Document is the page, and Policy, its Content-Security-Policy, allows exactly the style
// and script that are in it.
type Document struct {
	HTML   []byte
	Policy string
}

// New makes the page of its parts.
func New() Document {
	html := strings.Replace(frame, "/*page.css*/", style, 1)
	html = strings.Replace(html, "/*page.js*/", script, 1)
	return Document{[]byte(html), strings.Join([]string{
		"default-src 'none'", "script-src " + source(script), "style-src " + source(style), "connect-src 'self'", "img-src data:",
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
	}, "; ")}
}

// source names a text in a policy.
func source(text string) string {
	hash := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
}
