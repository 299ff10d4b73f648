// Package stopping ends texts before strings that somebody asked to stop at.
package stopping

import "strings"

// A Stopper cuts a text before the first of some strings, and holds back what may be
// the beginning of one. The first is the one that ends first; of those that end
// together, the longest: so where a text is cut does not depend on its pieces.
type Stopper struct {
	Strings []string
	held    string
	found   string
}

// Push adds a piece and returns the text that is certain now.
func (s *Stopper) Push(piece string) string {
	if s.found != "" {
		return ""
	}
	text := s.held + piece
	if start := s.find(text); start >= 0 {
		s.held = ""
		return text[:start]
	}
	certain := len(text) - s.begun(text)
	s.held = text[certain:]
	return text[:certain]
}

// Found is the string that ended the text, or "".
func (s *Stopper) Found() string { return s.found }

// Flush returns what was held back of a text that has ended.
func (s *Stopper) Flush() string {
	held := s.held
	s.held = ""
	return held
}

// find sets found, and returns where it starts, or -1.
func (s *Stopper) find(text string) (start int) {
	start, end := -1, len(text)+1
	for _, stop := range s.Strings {
		at := strings.Index(text, stop)
		if at >= 0 && (at+len(stop) < end || at+len(stop) == end && at < start) {
			start, end, s.found = at, at+len(stop), stop
		}
	}
	return start
}

// begun is the length of the longest end of a text that is the beginning of a string.
func (s *Stopper) begun(text string) (longest int) {
	for _, stop := range s.Strings {
		for n := min(len(stop)-1, len(text)); n > longest; n-- {
			if strings.HasSuffix(text, stop[:n]) {
				longest = n
			}
		}
	}
	return longest
}
