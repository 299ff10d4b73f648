package deepseekv4

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"smelt.example/smelt/internal/models/chat"
)

// Profile is a revision of the chat format. They differ in the words for effort.
type Profile int

const (
	Preview Profile = iota // of the first checkpoints
	P0731                  // of those of 31 July
)

// String gives the profile's name: preview or 0731.
func (p Profile) String() string {
	switch p {
	case Preview:
		return "preview"
	case P0731:
		return "0731"
	}
	return fmt.Sprintf("Profile(%d)", int(p))
}

// effort is the text that asks for an effort, empty for the profile's usual one.
func (p Profile) effort(word string) (string, error) {
	texts := map[string]string{"": "", "high": "", "max": effortAbsolute}
	known := "high or max"
	if p == P0731 {
		texts = map[string]string{"": "", "low": "", "high": effortAbsolute, "max": effortBeyond}
		known = "low, high or max"
	}
	text, ok := texts[word]
	if !ok {
		return "", fmt.Errorf("chat: found effort %s, expected %s, which %s's chat format (%v) knows", quoted(word), known, name, p)
	}
	return text, nil
}

// Profiles are the names of the format's revisions.
func (ChatFormat) Profiles() []string { return []string{Preview.String(), P0731.String()} }

// In is the format in a revision.
func (f ChatFormat) In(profile string) chat.Format {
	if profile == P0731.String() {
		return ChatFormat{P0731}
	}
	return ChatFormat{Preview}
}

// Effort is the profile's word for one of those that other interfaces have, as the
// vendor's own server maps them.
func (f ChatFormat) Effort(word string) (own string, context int, err error) {
	words := map[string]string{"": "", "minimal": "high", "low": "high", "medium": "high", "high": "high", "xhigh": "high", "ultra": "max", "max": "max"}
	if f.Profile == P0731 {
		words["minimal"], words["low"] = "low", "low"
	}
	own, ok := words[word]
	if !ok {
		return "", 0, fmt.Errorf("found effort %s, expected minimal, low, medium, high, xhigh, ultra or max", quoted(word))
	}
	if own == "max" {
		context = contextOfMax
	}
	return own, context, nil
}

// contextOfMax is what the model's card wants for the effort max, in tokens.
const contextOfMax = 384 << 10

// JSONAnswer is the vendor's text for requests of JSON without a schema.
func (ChatFormat) JSONAnswer() string { return jsonObject }

// encoderFile is the model's own encoder, which checkpoints may hold. Nothing else in
// them tells the profiles apart.
const encoderFile = "encoding/encoding_dsv4.py"

// profileOf reads, and never runs, the encoder in a checkpoint's folder. Without one
// the name of the folder may tell. The note says so where the choice is a guess.
func profileOf(dir string) (p Profile, note string, err error) {
	path := filepath.Join(dir, filepath.FromSlash(encoderFile))
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if strings.Contains(filepath.Base(dir), P0731.String()) {
			return P0731, fmt.Sprintf("the chat format is that of %v by the folder's name: it has no %s", P0731, encoderFile), nil
		}
		return Preview, "", nil
	}
	if err != nil {
		return Preview, "", err
	}
	defer file.Close()
	const most = 256 << 10
	text, err := io.ReadAll(io.LimitReader(file, most))
	if err != nil {
		return Preview, "", fmt.Errorf("reading %s: %w", path, err)
	}
	if strings.Contains(string(text), "Beyond maximum") {
		return P0731, "", nil
	}
	return Preview, "", nil
}
