package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"smelt.example/smelt/internal/runtime/admission"
)

// cacheRAM is the flag --cache-ram: a size, 0, or auto.
type cacheRAM struct{ at *int64 }

// cacheRAMFlag makes the flag.
func cacheRAMFlag(cmd *cobra.Command, at *int64, value int64) {
	*at = value
	cmd.Flags().Var(cacheRAM{at}, "cache-ram", "memory for what was computed of texts that have lost their slot, such as 4GB; 0 is none, auto a quarter of what all else leaves free, at most 8GiB")
	completeWords(cmd, "cache-ram", "auto", "0")
}

// Set reads it.
func (c cacheRAM) Set(s string) (err error) {
	switch s {
	case "auto":
		*c.at = admission.Auto
		return nil
	case "0":
		*c.at = 0
		return nil
	}
	n, err := parseBytes(s)
	if err != nil {
		return fmt.Errorf("expected auto, 0, or a size with a unit up to %d TiB such as 4GB or 3.5GiB", int64(maxMemory)>>40)
	}
	*c.at = n
	return nil
}

// String is the size.
func (c cacheRAM) String() string {
	switch {
	case c.at == nil: // pflag asks a zero value
		return ""
	case *c.at == admission.Auto:
		return "auto"
	case *c.at == 0:
		return "0"
	}
	return fmt.Sprintf("%dB", *c.at)
}

// Type is what the value is, for --help.
func (c cacheRAM) Type() string { return "size" }
