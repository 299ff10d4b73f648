package main

import "smelt.example/smelt/internal/option"

// flagNames are the flags that set the options of the libraries.
var flagNames = map[option.Name]string{
	"AllowPaging":       "--allow-paging",
	"Bias":              "--logit-bias",
	"CacheRAM":          "--cache-ram",
	"Chunk":             "--chunk",
	"Context":           "--context",
	"Force":             "--force",
	"Formats.Rows":      "--cache",
	"FrequencyPenalty":  "--frequency-penalty",
	"Hashes":            "--hash",
	"Kernel":            "--kernel",
	"MaxTokens":         "--max-tokens",
	"MinP":              "--min-p",
	"PresencePenalty":   "--presence-penalty",
	"RepetitionPenalty": "--repetition-penalty",
	"Slots":             "--slots",
	"StopStrings":       "--stop",
	"Target":            "--target",
	"Temperature":       "--temp",
	"TopK":              "--top-k",
	"TopP":              "--top-p",
	"Wanted":            "--wanted",
}

// flagOf names an option of a library as users give it.
func flagOf(n option.Name) string {
	if flag, ok := flagNames[n]; ok {
		return flag
	}
	return string(n)
}
