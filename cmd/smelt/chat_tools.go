package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"smelt.example/smelt/internal/message"
	"smelt.example/smelt/internal/models/pyjson"
	"smelt.example/smelt/internal/strictjson"
)

// Limits of what /tools reads.
const (
	maxToolsBytes = 4 << 20
	maxTools      = 2048
	maxToolName   = 256
)

// readTools reads a file with a list of tools.
func readTools(ctx context.Context, path string) (tools []string, err error) {
	text, err := readTextFile(ctx, "/tools", path)
	if err != nil {
		return nil, err
	}
	if tools, err = parseTools(text); err != nil {
		return nil, fmt.Errorf("/tools %s: %w", path, err)
	}
	return tools, nil
}

// parseTools reads a JSON list of tools: objects with name, description and parameters, or
// with these in "function", as programs send them to a server.
func parseTools(text string) (tools []string, err error) {
	const want = `expected a JSON list of tools: [{"name": ..., "description": ..., "parameters": {...}}, ...]`
	if len(text) > maxToolsBytes {
		return nil, fmt.Errorf("found %d bytes, expected at most %d", len(text), maxToolsBytes)
	}
	d := jsontext.NewDecoder(bytes.NewBufferString(text))
	if kind := d.PeekKind(); kind != jsontext.KindBeginArray && kind != jsontext.KindInvalid {
		return nil, fmt.Errorf("found %s, %s", strictjson.KindName(kind), want)
	}
	_, err = d.ReadToken()
	for err == nil && d.PeekKind() != jsontext.KindEndArray {
		var raw jsontext.Value
		if raw, err = d.ReadValue(); err != nil {
			break
		}
		if len(tools) == maxTools {
			return nil, fmt.Errorf("found more than %d tools, expected no more than that", maxTools)
		}
		tool, err := oneTool(string(raw))
		if err != nil {
			return nil, fmt.Errorf("tool %d: %w", len(tools)+1, err)
		}
		tools = append(tools, tool)
	}
	if err == nil {
		_, err = d.ReadToken() // the end of the list
	}
	if err == nil {
		if _, err = d.ReadToken(); err == nil {
			err = errors.New("something after the list")
		} else if errors.Is(err, io.EOF) {
			return tools, nil
		}
	}
	return nil, fmt.Errorf("found %s, %s", strictjson.Describe(err), want)
}

// oneTool is a tool as the chat format takes it.
func oneTool(text string) (tool string, err error) {
	v, err := pyjson.Parse(text)
	if err != nil {
		return "", err
	}
	if members, ok := v.Members(); ok {
		if inner := member(members, "function"); inner != nil {
			v = *inner
		}
	}
	members, ok := v.Members()
	if !ok {
		return "", fmt.Errorf("found %s, expected an object with name, description and parameters", message.Clip(v.String()))
	}
	value := member(members, "name")
	if value == nil {
		return "", errors.New(`found no "name", expected a text`)
	}
	name, ok := value.Text()
	odd := func(r rune) bool { return strings.ContainsRune(`"<>`, r) || unicode.IsControl(r) }
	if !ok || name == "" || len(name) > maxToolName || strings.ContainsFunc(name, odd) {
		return "", fmt.Errorf(`found the name %s, expected a text of 1 to %d bytes without ", <, > and control characters`, message.Clip(value.String()), maxToolName)
	}
	return v.String(), nil
}

// member is an object's value of a key, nil if it has none.
func member(members []pyjson.Member, key string) *pyjson.Value {
	i := slices.IndexFunc(members, func(m pyjson.Member) bool { return m.Key == key })
	if i < 0 {
		return nil
	}
	return &members[i].Value
}
