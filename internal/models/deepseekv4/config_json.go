package deepseekv4

import (
	"fmt"
	"strconv"
	"strings"

	"smelt.example/smelt/internal/message"
)

// ConfigError is everything wrong with one configuration file.
type ConfigError struct {
	File string
	// Findings each name a key, what was found and what was expected.
	Findings []string
}

// maxShown bounds an error's length; a file can be wrong in thousands of places.
const maxShown = 40

// Error lists the findings, one a line after the first.
func (e *ConfigError) Error() string {
	shown, rest := e.Findings, ""
	if len(shown) > maxShown {
		rest = fmt.Sprintf("\n  and %d more", len(shown)-maxShown)
		shown = shown[:maxShown]
	}
	return fmt.Sprintf("%s: not a DeepSeek-V4 configuration smelt can use; correct the file or fetch it again:\n  %s%s",
		e.File, strings.Join(shown, "\n  "), rest)
}

func quoted(s string) string { return strconv.Quote(message.Clip(s)) }

func text(n int) string { return strconv.Itoa(n) }
