package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// maxKey is the limit of a key in bytes: headers have little more room.
const maxKey = 4096

// checkOrigins refuses origins that no browser would send in this form.
func (a *accessFlags) checkOrigins() error {
	for _, origin := range a.origins {
		u, err := url.Parse(origin)
		if origin != "*" && (err != nil || u.Host == "" || origin != u.Scheme+"://"+strings.ToLower(u.Host)) {
			return fmt.Errorf("--cors-origin %q: expected an origin as browsers send it, such as https://page.example or http://localhost:3000, in small letters and with nothing behind it, or *", origin)
		}
	}
	return nil
}

// all are the keys of flags, file and environment, each once.
func (a *accessFlags) all(environment string) (keys []string, err error) {
	add := func(key, from string) error {
		if key == "" || len(key) > maxKey || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return fmt.Errorf("%s: found a key of %d bytes, expected 1 to %d printable ASCII characters without blanks", from, len(key), maxKey)
		}
		keys = append(keys, key)
		return nil
	}
	for _, key := range a.keys {
		err = errors.Join(err, add(key, "--api-key"))
	}
	if environment != "" {
		err = errors.Join(err, add(environment, "SMELT_API_KEY"))
	}
	if a.file != "" {
		err = errors.Join(err, a.read(add))
	}
	if err == nil && a.none && len(keys) > 0 {
		err = errors.New("--no-auth contradicts a key: leave one of them out")
	}
	return keys, err
}

// read adds the keys of the file. Empty lines, and those that begin with #, are none.
func (a *accessFlags) read(add func(key, from string) error) error {
	text, err := readTextFile(context.Background(), "--api-key-file", a.file)
	if err != nil {
		return err
	}
	found := 0
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		found++
		if err := add(line, fmt.Sprintf("--api-key-file %s, line %d", a.file, i+1)); err != nil {
			return err
		}
	}
	if found == 0 {
		return fmt.Errorf("--api-key-file %s: found no key, expected one a line", a.file)
	}
	return nil
}
