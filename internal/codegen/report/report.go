// Package report writes what a compiler did as one HTML page: the stages of
// the passes side by side, the kernels with their source and costs, the order
// of dispatches, and where memory lies. The page needs no network: styles,
// scripts and data are in it.
//
// It shows what a bundle holds and decides nothing; it knows no model.
package report

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"io/fs"

	"smelt.example/smelt/codegen/bundle"
	"smelt.example/smelt/passes"
)

//go:embed assets
var assets embed.FS

// Write writes the page of a bundle. stages are those its module went through;
// nil (a bundle that was read from its folder has none) shows the module alone.
// Equal bundles and stages give equal bytes.
func Write(w io.Writer, b *bundle.Bundle, stages *passes.Result) error {
	doc, err := describe(b, stages)
	if err != nil {
		return fmt.Errorf("report of %s: %w", b.Name, err)
	}
	data, err := json.Marshal(doc) // escapes <, >, & and U+2028, so nothing in it ends the script block
	if err != nil {
		return fmt.Errorf("report of %s: %w", b.Name, err)
	}
	page, err := assemble(doc.Model.Name, data)
	if err != nil {
		return err
	}
	_, err = w.Write(page)
	return err
}

// assemble puts the page together: the frame with title, style, data and
// scripts at its marks.
func assemble(title string, data []byte) ([]byte, error) {
	frame, err := assets.ReadFile("assets/page.html")
	if err != nil {
		return nil, err
	}
	style, err := assets.ReadFile("assets/page.css")
	if err != nil {
		return nil, err
	}
	script, err := scripts()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, part := range []struct {
		mark string
		text []byte
	}{
		{"<!--title-->", []byte(html.EscapeString(title))},
		{"/*style*/", style},
		{"<!--data-->", data},
		{"/*script*/", script},
	} {
		before, after, found := bytes.Cut(frame, []byte(part.mark))
		if !found {
			return nil, fmt.Errorf("page.html lacks the mark %s", part.mark)
		}
		out.Write(before)
		out.Write(part.text)
		frame = after
	}
	out.Write(frame)
	return out.Bytes(), nil
}

// scripts are the page's scripts in the order of their file names, as one. What
// runs at once may use only what stands before it: views.js, which lists the
// views, comes after them.
func scripts() ([]byte, error) {
	names, err := fs.Glob(assets, "assets/*.js")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, name := range names {
		src, err := assets.ReadFile(name)
		if err != nil {
			return nil, err
		}
		out.Write(src)
	}
	return out.Bytes(), nil
}
