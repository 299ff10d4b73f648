package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"smelt.example/smelt/internal/runtime/admission"
)

// mostCacheRAM is maxMemory.
const mostCacheRAM = "1048576TiB"

// cacheRAM is the flag --cache-ram: a size, 0, or auto.
type cacheRAM struct{ at *int64 }

// cacheRAMFlag makes the flag.
func cacheRAMFlag(cmd *cobra.Command, at *int64, value int64) {
	*at = value
	cmd.Flags().Var(cacheRAM{at}, "cache-ram", "memory for what was computed of texts that have lost their slot, such as 4GB; 0 is none, auto a quarter of what all else leaves free, at most 8GiB; "+mostCacheRAM+" at most")
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
		return errors.New("expected auto, 0, or a size with a unit such as 4GB or 3.5GiB, up to " + mostCacheRAM)
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

func (c cacheRAM) bounds() (least, most string, above bool) { return "0", mostCacheRAM, false }

// Type is what the value is, for --help.
func (c cacheRAM) Type() string { return "size" }
