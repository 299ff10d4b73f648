package encoding

import (
	"testing"

	"smelt.example/smelt/internal/ir/fmacheck"
)

// TestNothingFused: decoded values and stored bytes are the same on every machine.
func TestNothingFused(t *testing.T) { fmacheck.Check(t, "smelt.example/smelt/internal/ir/encoding") }
